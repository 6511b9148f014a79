"""Thin assets; the folders are the stages of the flow. An asset reads, makes one call into the library, writes, reports.

A check lives beside its asset.
"""
