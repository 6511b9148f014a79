"""The public API (ASGI): profiles and scores over HTTP. It opens no DuckDB file and never imports dagster.

``routes`` takes requests, ``schemas`` says what enters and leaves, ``calls`` and ``scoring`` answer from store and champion.
"""
