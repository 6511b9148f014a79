"""Recommendations: the next product of a session, and the products that a customer will buy. Methods, gate and backtest.

Batch assets and services call the same functions. Co-visits and co-purchases are counted in SQL (``related_products``).
"""
