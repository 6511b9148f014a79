"""What customers will spend: models of repeat buying, their judgement on a held-out period, and ``customer_lifetime``.

``expected_spend`` of ``customer_value`` is that of the label horizon, by the models of scores; this is of a quarter and a year.
"""
