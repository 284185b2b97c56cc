"""Origin connections: opened, kept idle per server and engine (the last used is used first), and closed."""
from libc.stdint cimport int32_t, int64_t
from proxyd_ext.balance.server cimport ServerData
from proxyd_ext.conn.model cimport Context, OriginConn


# An idle connection to the server, or NULL.
cdef OriginConn* origin_reuse(Context* context, ServerData* server) noexcept nogil
# A connection that is being opened; *fault says why there is none (NULL).
cdef OriginConn* origin_connect(Context* context, ServerData* server, int* fault) noexcept nogil
# Keep a connection for later, or close it when there are `most` idle ones.
cdef void origin_park(OriginConn* origin, int64_t most, int64_t idle_ms) noexcept nogil
cdef void origin_close(OriginConn* origin, bint reset) noexcept nogil
# Close the idle connections of servers that the current snapshot does not have.
cdef void origins_sweep(Context* context) noexcept nogil
# FAULT_* of an errno from connect().
cdef int connect_fault(int error) noexcept nogil
