"""The consult door: an exchange waits, the control plane decides, the answer resumes it (design.md §2.5)."""
from libc.stdint cimport int32_t, uint32_t
from proxyd_ext.conn.model cimport Context, Exchange


cdef bint consults_init(Context* context) noexcept nogil                    # False: no memory
cdef void consults_destroy(Context* context) noexcept nogil
# Ask; the exchange holds the slot until consult_end.  False: all slots are taken (counted).
cdef bint consult_ask(Exchange* exchange, int kind) noexcept nogil
# Give the slot back: answered, timed out, or the client went away.  An answer that comes later is dropped and counted.
cdef void consult_end(Exchange* exchange) noexcept nogil
# The exchange that (slot, generation) names, or NULL when it is no longer waiting (counted as late).
cdef Exchange* consult_find(Context* context, int32_t slot, uint32_t generation) noexcept nogil
