"""Who the client is, and the key that a hash balancer hashes."""
from libc.stdint cimport uint64_t
from proxyd_ext.conn.model cimport Exchange
from proxyd_ext.core.address cimport Address
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head
from proxyd_ext.snapshot.compile cimport CompiledListener


cdef bint trusted_peer(const CompiledListener* listener, const Address* address) noexcept nogil
# The client that a trusted peer names in the listener's client_ip header: *address is set, and its text returned (from the head).
# In a list the rightmost address that is not itself trusted counts.  `otherwise` comes back when the field is absent or not an address.
cdef Slice real_client(const CompiledListener* listener, const Head* head, Address* address, Slice otherwise) noexcept nogil
# CRC-32 of the key, as nginx's `hash` has it.  *found: whether the request has one at all.
cdef uint64_t request_key(const Exchange* exchange, const Head* head, bint* found) noexcept nogil
