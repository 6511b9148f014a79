"""The store of the services: what they answer from, kept in LMDB beside the published version. Only runs write it.

Services read it alone: they open neither the warehouse nor a published table.
"""
