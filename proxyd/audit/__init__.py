"""The audit trail: a file to which every change of the daemon adds one line, each hanging on the one before.

`record.py` (what a line says, and how it is chained) · `file.py` (lines to the disk) with `rotation.py` (in which files) · `trail.py` (what
the daemon uses) · `purges.py` (PURGE requests, and floods of them) · `reading.py` and `verify.py`, over all files.
"""
