"""Our figures of each day beside those of another tool, and why they differ.

``exports`` reads what the tool exports, ``own`` reads ours from a published version, ``compare`` puts the two side by side.
"""
