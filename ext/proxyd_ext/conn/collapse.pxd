"""Waiting for another's fetch, or for the second tier, and looking again; and the end of one's own fetch when it fails others."""
from proxyd_ext.conn.model cimport Exchange


# The use of an exchange that waited was woken.  LOOKUP_*; LOOKUP_WAIT: it was nothing.  *fault: the leader's fault, which is this one's
# too.
cdef int cached_woken(Exchange* exchange, int* fault) noexcept nogil
# It has waited long enough: on its own.
cdef void cached_alone(Exchange* exchange) noexcept nogil
# The second tier has answered, or its time is up: look again, as the leader.  LOOKUP_*.
cdef int cached_again(Exchange* exchange) noexcept nogil
# The exchange fails with a fault of its servers: so do those that wait for it.
cdef void cached_failed(Exchange* exchange, int fault) noexcept nogil
