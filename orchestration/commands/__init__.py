"""One module a subcommand of ``customer360``: ``run(options)`` calls the library and says what it found.

``EXPECTED`` names the errors that are told in one line. Parsing is in ``orchestration.cli``, the work in ``customer360``.
"""
