"""The desk: dashboards and campaigns in a browser, for people inside the company.

One Django application. Each module of ``pages`` is a page with its views; what it needs beyond a query is in the library. A
request reads one published snapshot; decisions go through the same functions as the commands. Nothing here writes the warehouse
or a published version. See docs/desk.md.
"""
