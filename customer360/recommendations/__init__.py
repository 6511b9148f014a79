"""Recommendations at request time: the next products of a session, and lists blended of what is known of who asks.

Pure functions of NumPy arrays and rows in memory, for services; what they read is learned and judged in ``ml.recommendations``.
"""
