"""Limits on the control plane: the tokens that several proxies share, and what `proxyd limit` and the admin API tell of every limit.

`service.Limits` is what the daemon uses. Reading order: service.py · leases.py (the arithmetic of leases) · sharing.py (what one proxy has
to do with the store) · redis_leases.py (the store) · views.py (limits in plain values).
"""
