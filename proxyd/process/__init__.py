"""proxyd as a process among others: what it was passed at its start, what it tells its manager, who comes after it, and as whom it runs.

`passed.py` (sockets that were open before us) · `fdstore.py`, `notify.py` (a manager that keeps them) · `program.py`, `launch.py`
(proxyd, started once more) · `upgrade.py` (by the one that leaves) · `supervise.py` (by one that stays) · `privileges.py`.
"""
