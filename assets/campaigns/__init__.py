"""Campaign plans, ledger and results."""
