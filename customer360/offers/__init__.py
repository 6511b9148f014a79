"""Which offer a customer sees: conditions, the offers of a day, decisions, policies, and what decisions are made of.

In this order: ``conditions`` are what an offer's row may ask for, ``offers`` holds the offers of a day, ``customer`` what is
known of a customer, ``decisions`` takes an offer by a policy, ``thompson`` is one that learns from clicks, ``log`` is the
record of a decision that was answered. ``inputs`` reads offers and customers from the warehouse, ``current`` makes
``current_offers`` of them. What decides is pure: the day, the key of the draws and the tables are arguments, so that the batch
and a service give the same answers. Whether a policy is better than another is judged by ``ml.effects.off_policy``.
"""
