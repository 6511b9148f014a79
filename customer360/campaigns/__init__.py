"""Campaigns from their files to what was sent: definition, audience, draft, approval, hand-over, outcomes.

In this order: ``definition`` and ``audience`` read the files, ``holdouts`` draws who is not contacted, ``drafts`` finds the
newest plan and the definition that it was made from, ``approval`` (with ``limits``) makes its contacts ready to be sent,
``sending`` hands them over, ``attribution`` records their outcomes. ``ledger`` stores each step as facts, ``standing`` derives
the state of each contact from them, ``overview`` shows it. What is published is an argument (``customer360.snapshot``).
Predictions and plans are made in ``ml``.
"""
