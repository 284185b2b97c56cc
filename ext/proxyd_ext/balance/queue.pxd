"""Exchanges that wait until an upstream has room: first come, first served over all engines, under the upstream's lock.

Who leaves a server wakes the first; the woken one picks for itself, and if somebody else was faster it goes back to the front. One that
goes away after it was woken passes the wake-up on. Whoever joins looks once more: room that came a moment before woke nobody. Room that
comes by other ways (a server that returned, a limit that grew) is told of by queue_more: then each who finds some wakes the next, until one
finds none.
"""
from libc.stdint cimport int64_t
from proxyd_ext.balance.pool cimport UpstreamData, Waiter


# Join at the end, or, when woken in vain, at the front.  False: `most` wait already.
cdef bint queue_join(UpstreamData* state, Waiter* waiter, int64_t most, bint front) noexcept nogil
# Leave without having been served (timeout, client gone), or having been served (`served`).
cdef void queue_leave(UpstreamData* state, Waiter* waiter, bint served) noexcept nogil
# There may be room for several: wake the first, who wakes the next when he found some (queue_found).
cdef void queue_more(UpstreamData* state) noexcept nogil
# What a woken one saw when it looked.
cdef void queue_found(UpstreamData* state, bint room) noexcept nogil
# There is room: wake the first.
cdef void queue_next(UpstreamData* state) noexcept nogil
