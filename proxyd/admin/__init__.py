"""The admin API: what an operator reads and does over a unix socket or loopback TCP (interface.md §4).

Kept empty of imports: the command line uses `client` and `address` from here and must not pay for aiohttp.
"""
