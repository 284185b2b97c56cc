"""Which hooks of a user's filter engines ask right now. Outlives snapshots; the control plane switches it while requests are under way."""
from libc.stdint cimport uint64_t
from proxyd_ext.core.stats cimport ENGINES_MAX


cdef enum:
    HOOK_REQUEST = 1 << 0
    HOOK_RESPONSE = 1 << 1
    HOOK_FAILING = 1 << 2     # the filter is out of order

    HOOKED_REQUEST = 0        # asked
    HOOKED_RESPONSE = 1
    HOOKED_CHANGED = 2
    HOOKED_REPLIED = 3        # answered in the server's place
    HOOKED_FAILED = 4         # no answer came
    HOOKED_TIMEOUT = 5
    HOOKED_OPEN = 6           # failed, and the request passed
    HOOKED_CLOSED = 7         # failed, and the request was refused
    HOOKED_COUNT = 8


ctypedef struct HooksLocal:
    uint64_t[HOOKED_COUNT] count   # one engine's; written by that engine only


ctypedef struct HooksData:
    int bits                  # HOOK_*
    int id
    HooksLocal[ENGINES_MAX] local


cdef void hooks_count(HooksData* hooks, int engine, int what) noexcept nogil


cdef class Hooks:
    cdef HooksData* data
    cdef readonly str name
