"""Campaigns as files, and what becomes of them: definitions, the ledger, approval, sending, attribution.

How customers are chosen and what it brought is worked out in ``ml``; Dagster's assets and jobs call both.
"""
