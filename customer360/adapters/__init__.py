"""Adapters: published data sets, written into ``landing/`` as a shop would write them, for demos and tests on real input.

One module a data set; beside it only ``shops/<name>/`` knows of that data. What happens to the files does not live here.
"""
