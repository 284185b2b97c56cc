"""Configs as transactions: a reload is taken whole or not at all, can be on trial, and can be gone back from.

`service.Transactions` is what the daemon uses. Reading order: service.py (orders, in turn) · reloading.py (the steps of a reload) ·
entry.py and history.py (what served, and what was refused) · terms.py, guard.py and trial.py (when a reload is gone back from by itself) ·
opening.py (what a process begins with after another one) · plan_text.py and drains.py (a plan in one line).
"""
