"""Births and deaths of native objects, by kind; the release build keeps no count."""
from libc.stdint cimport int64_t
from proxyd_ext.core.shim cimport PXD_DEBUG, live_add, load_i64


cdef int64_t[LIVE_KINDS] _live

_NAMES = (
    "buffer", "client", "origin", "exchange", "snapshot", "server", "listener", "pipe", "copy", "cache", "use", "fill", "verdict",
    "filtered", "flow", "datagrams", "upstream", "hello",
)


cdef void live_born(int kind) noexcept nogil:
    live_add(&_live[kind], 1)


cdef void live_died(int kind) noexcept nogil:
    live_add(&_live[kind], -1)


def live_counts() -> dict[str, int]:
    """Objects alive now, by kind. Always zeros in a release build (see `counting`)."""
    cdef int i
    return {_NAMES[i]: load_i64(&_live[i]) for i in range(LIVE_KINDS)}


def counting() -> bool:
    """Whether this is a debug build, which counts."""
    return bool(PXD_DEBUG)
