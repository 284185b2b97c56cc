"""An exchange: one request and its response. The only file that knows the order of phases."""
from libc.stdint cimport int32_t, uint16_t, uint32_t
from proxyd_ext.conn.model cimport Context
from proxyd_ext.core.slice cimport Slice


# Make the context's streams and timers speak to the exchanges of this file.
cdef void exchange_install(Context* context) noexcept nogil
# The control plane's answer to a consult.
cdef void exchange_answered(Context* context, int32_t slot, uint32_t generation, uint16_t status, Slice head, Slice body) noexcept nogil
# The engine, or some of its listeners, serve no new connections: resting ones close soon, busy ones after their answer.
cdef void exchanges_drain(Context* context) noexcept nogil
# End everything at once.
cdef void exchanges_abort(Context* context) noexcept nogil
