"""The audit trail: a file to which every change of the daemon adds one line, each hanging on the one before.

`record.py` (what a line says, and how it is chained) · `file.py` (the file) · `trail.py` (what the daemon uses) · `verify.py`.
"""
