"""What real exchanges tell of a server: failures in a row eject it at once, on the engine that saw the last one."""
from libc.stdint cimport int64_t
from proxyd_ext.balance.pool cimport PoolData
from proxyd_ext.balance.server cimport ServerData


# A try failed.  True: that ejected the server just now.
cdef bint note_failure(const PoolData* pool, ServerData* server, int64_t now_ms) noexcept nogil
cdef void note_success(ServerData* server) noexcept nogil
