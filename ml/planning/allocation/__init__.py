"""Who gets what under a budget and capacities: exactly where the problem is small, by prices with a proven gap beyond.

Knows customers and options only, nothing of campaigns: the rest of ``ml.planning`` says what an option is worth.
"""
