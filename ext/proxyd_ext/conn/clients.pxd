"""Connections per client address, over all engines (limits.per_client)."""
from libc.stdint cimport int32_t
from proxyd_ext.conn.model cimport ClientCount
from proxyd_ext.core.address cimport Address


# Count one more connection of an address.  NULL: it has `limit` already, or there is no memory.
cdef ClientCount* clients_enter(const Address* address, int32_t limit) noexcept nogil
cdef void clients_leave(ClientCount* count) noexcept nogil
