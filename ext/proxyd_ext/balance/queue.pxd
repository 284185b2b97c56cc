"""Exchanges that wait until an upstream has room: by class, in it first come, first served, over all engines, under the upstream's lock.

Who leaves a server wakes the first; the woken one picks for itself, and if somebody else was faster it goes back to the front of its
class. One that goes away after it was woken passes the wake-up on. Whoever joins looks once more: room that came a moment before woke
nobody. Room that comes by other ways (a server that returned, a limit that grew) is told of by queue_more: then each who finds some wakes
the next, until one finds none.

A full queue gives up the youngest of its lowest class for somebody of a higher one. Beyond that it sheds as the gate does (limit/gate.pxd):
a class *stands* once all of it who found room for an interval had waited for the target or longer, until nobody of it waits; then who has
waited so long leaves the room to those behind, if there are any. Only who has found room can tell (queue_sheds): a wake-up may be in vain.
"""
from libc.stdint cimport int64_t
from proxyd_ext.balance.pool cimport UpstreamData, Waiter


# Join at the end of a class.  False: `most` wait already, and nobody of a lower class.
cdef bint queue_wait(UpstreamData* state, Waiter* waiter, int priority, int64_t most, int64_t now_us) noexcept nogil
# The same for who has no class (CLASS_NORMAL) and is never shed for having waited; or, when woken in vain (`front`), back to the front of
# the class that it had.
cdef bint queue_join(UpstreamData* state, Waiter* waiter, int64_t most, bint front) noexcept nogil
# Leave without having been served (timeout, client gone, shed), or having been served (`served`).
cdef void queue_leave(UpstreamData* state, Waiter* waiter, bint served) noexcept nogil
# Asked once by a woken one that has found room.  True: it is to leave it again, which wakes the next, and is refused.
cdef bint queue_sheds(UpstreamData* state, const Waiter* waiter, int64_t now_us) noexcept nogil
# There may be room for several: wake the first, who wakes the next when he found some (queue_found).
cdef void queue_more(UpstreamData* state) noexcept nogil
# What a woken one saw when it looked.
cdef void queue_found(UpstreamData* state, bint room) noexcept nogil
# There is room: wake the first.
cdef void queue_next(UpstreamData* state) noexcept nogil
