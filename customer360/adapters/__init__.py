"""Adapters: foreign data as landing files. They end at ``landing/``; the pipeline does the rest.

Foreign formats: one module each, with ``clicks``, a function from a row to the click contract; ``formats`` and ``conversion``
apply it to files for ``customer360 adapt``.

Published data sets, for demos and tests on real input: one module each, with ``write_landing``; beside it only
``shops/<name>/`` knows of that data.
A module whose data the reader brings names their files in ``SOURCE_FILES`` and takes their folder, ``FROM`` of ``make demo``.
"""
