"""The page /demo: a storefront of the shop that is served, which asks and sends what a shop's own pages would.

Its server part stands for that of a shop: it knows the catalogue, and signs a customer in without a password. It is therefore
off by default, and for this machine alone.
"""
