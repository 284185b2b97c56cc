"""A socket's addresses as `Address`, and back."""
from proxyd_ext.core.address cimport Address
from proxyd_ext.io.sys cimport sockaddr_storage


# An IPv4-mapped IPv6 address becomes IPv4; of a unix socket there is none.
cdef void peer_address(const sockaddr_storage* peer, Address* out) noexcept nogil
# Where a socket is bound; ADDRESS_UNIX when it cannot be told.
cdef void local_address(int fd, Address* out) noexcept nogil
