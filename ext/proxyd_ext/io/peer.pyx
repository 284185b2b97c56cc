"""Addresses of sockets (see peer.pxd)."""
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy, memset
from proxyd_ext.core.address cimport ADDRESS_UNIX, ADDRESS_V4, ADDRESS_V6
from proxyd_ext.io.sys cimport AF_INET, AF_INET6, getsockname, ntohs, sockaddr, sockaddr_in, sockaddr_in6, socklen_t

cdef const char* _MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"   # RFC 4291 §2.5.5.2


cdef void peer_address(const sockaddr_storage* peer, Address* out) noexcept nogil:
    cdef const sockaddr_in* v4 = <const sockaddr_in*>peer
    cdef const sockaddr_in6* v6 = <const sockaddr_in6*>peer
    cdef int family = (<const sockaddr*>peer).sa_family    # which stands where a sockaddr_storage may not
    memset(out, 0, sizeof(Address))
    if family == AF_INET:
        out.family = ADDRESS_V4
        out.port = ntohs(v4.sin_port)
        memcpy(out.bytes, &v4.sin_addr, 4)
    elif family == AF_INET6:
        out.port = ntohs(v6.sin6_port)
        if memcmp(&v6.sin6_addr, _MAPPED, 12) == 0:
            out.family = ADDRESS_V4
            memcpy(out.bytes, <const uint8_t*>&v6.sin6_addr + 12, 4)
        else:
            out.family = ADDRESS_V6
            memcpy(out.bytes, &v6.sin6_addr, 16)
    else:
        out.family = ADDRESS_UNIX


cdef void local_address(int fd, Address* out) noexcept nogil:
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    address.ss_family = 0
    if getsockname(fd, <sockaddr*>&address, &size) < 0:
        address.ss_family = 0
    peer_address(&address, out)
