"""The flows of a listening socket, by client, and in order of their last datagram.

The hash is keyed, for clients choose their addresses. The order is kept apart for flows whose client has spoken again after an answer: the
others may be of invented addresses, and go first where room is needed.
"""
from libc.stdint cimport int64_t
from proxyd_ext.core.address cimport Address
from proxyd_ext.io.datagram cimport DatagramPath
from proxyd_ext.l4.udp_flow cimport UdpFlow, UdpKeys, UdpSocket


# A client: who sent, to which of our addresses, and whom a PROXY header names (NULL: none does).
cdef void table_key(UdpKeys* out, const DatagramPath* path, const Address* source) noexcept nogil
cdef bint table_init(UdpSocket* socket) noexcept nogil       # False: no memory
cdef void table_destroy(UdpSocket* socket) noexcept nogil
cdef UdpFlow* table_find(const UdpSocket* socket, const UdpKeys* key) noexcept nogil
cdef void table_add(UdpSocket* socket, UdpFlow* flow, int64_t now_ms) noexcept nogil
cdef void table_remove(UdpFlow* flow) noexcept nogil
# A datagram has come or gone: it is the last that would have to make room.
cdef void table_touch(UdpFlow* flow, int64_t now_ms) noexcept nogil
# Its client has spoken again after an answer.
cdef void table_confirm(UdpFlow* flow, int64_t now_ms) noexcept nogil
# Who makes room: the flow that was idle longest among those not confirmed, else the one that was idle longest; NULL: there is none.
cdef UdpFlow* table_victim(const UdpSocket* socket) noexcept nogil
