"""Campaigns as files and facts: what a campaign says, whom it is for, and (the ledger) what became of it.

Nothing here predicts or optimises: that is ``ml``.
"""
