"""Where streams and timers report, and what the engine asks of all connections at once."""
from proxyd_ext.conn.model cimport Context


# Make the context's streams and timers report here.
cdef void dispatch_install(Context* context) noexcept nogil
# The engine, or some of its listeners, serve no new connections: resting ones close soon, busy ones after their answer.
cdef void connections_drain(Context* context) noexcept nogil
# End everything at once.
cdef void connections_abort(Context* context) noexcept nogil
