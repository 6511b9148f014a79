"""Which offer a customer sees: conditions, the offers of a day, decisions, policies, and what decisions brought.

In this order: ``conditions`` are what an offer's row may ask for, ``offers`` holds the offers of a day, ``decisions`` takes one
for a customer by a policy, ``candidates`` reads both from the warehouse for the batch. What decides is pure: the day, the key
of the draws and the tables are arguments, so that the batch and a service give the same answers. Models are in ``ml``.
"""
