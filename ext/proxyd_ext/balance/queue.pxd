"""Exchanges that wait until an upstream has room: first come, first served over all engines, under the upstream's lock.

Who leaves a server wakes the first; the woken one picks for itself, and if somebody else was faster it goes back to the front. A waiter
that goes away after it was woken passes the wake-up on, so that no room is forgotten.
"""
from libc.stdint cimport int64_t
from proxyd_ext.balance.pool cimport UpstreamData, Waiter


# Join at the end, or, when woken in vain, at the front.  False: `most` wait already.
cdef bint queue_join(UpstreamData* state, Waiter* waiter, int64_t most, bint front) noexcept nogil
# Leave without having been served (timeout, client gone), or having been served (`served`).
cdef void queue_leave(UpstreamData* state, Waiter* waiter, bint served) noexcept nogil
# There is room: wake the first.
cdef void queue_next(UpstreamData* state) noexcept nogil
