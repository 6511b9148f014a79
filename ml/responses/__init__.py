"""The response model: whether a contact converts, from what was known just before it. Features, training set and scoring.

Planning, which decides whom to contact, is elsewhere (``ml.planning``), and so is what a contact causes (``ml.effects``).
"""
