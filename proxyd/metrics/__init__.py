"""Prometheus metrics: native counters, read when somebody scrapes."""
