"""Births and deaths of native objects. Counted in the debug build only (PROXYD_DEBUG=1); tests assert that they balance."""
from libc.stdint cimport int64_t


cdef enum:
    LIVE_BUFFER = 0
    LIVE_CLIENT = 1
    LIVE_ORIGIN = 2
    LIVE_EXCHANGE = 3
    LIVE_SNAPSHOT = 4
    LIVE_SERVER = 5
    LIVE_LISTENER = 6
    LIVE_PIPE = 7
    LIVE_COPY = 8
    LIVE_CACHE = 9            # slots of the cache's memory
    LIVE_USE = 10             # of the cache, by an exchange
    LIVE_FILL = 11
    LIVE_VERDICT = 12
    LIVE_FILTERED = 13        # what a route's filters know of an exchange
    LIVE_FLOW = 14            # of TCP
    LIVE_DATAGRAMS = 15       # flows of UDP
    LIVE_UPSTREAM = 16
    LIVE_HELLO = 17           # what is kept of a ClientHello
    LIVE_KINDS = 18


cdef void live_born(int kind) noexcept nogil
cdef void live_died(int kind) noexcept nogil
