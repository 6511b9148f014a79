"""What customers will spend: models of repeat buying, their judgement on a held-out period, and ``customer_lifetime``.

``expected_spend`` of ``customer_value`` is the next days' spend by the models of the scores; this is the next quarter's and year's.
"""
