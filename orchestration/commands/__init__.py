"""The commands of ``customer360``, one module per noun; ``orchestration.cli`` assembles them, the work is in the library.

A module imports the library inside the command that runs, so that ``--help`` and completion stay fast.
"""
