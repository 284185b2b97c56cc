"""Network addresses in one compact form, and sets of networks."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from proxyd_ext.core.slice cimport Slice


cdef enum:
    ADDRESS_UNIX = 0      # a unix socket: no address
    ADDRESS_V4 = 4
    ADDRESS_V6 = 6
    ADDRESS_TEXT = 46     # bytes that address_write needs at most


ctypedef struct Address:
    uint8_t[16] bytes     # an IPv4 address stands in the first 4; the rest is 0
    uint16_t port         # host byte order
    uint8_t family        # ADDRESS_*


ctypedef struct Network:
    uint8_t[16] bytes
    uint8_t bits          # prefix length
    uint8_t family
    bint allow            # for access lists


# Text of an address, without port or brackets ("unix" for a unix socket); returns the bytes written.
cdef int address_write(const Address* address, uint8_t* out) noexcept nogil
# Read an IPv4 or IPv6 literal (an IPv4-mapped IPv6 address becomes IPv4).  False: it is none.
cdef bint address_parse(Slice text, Address* out) noexcept nogil
cdef bint address_equals(const Address* a, const Address* b) noexcept nogil      # without the port
cdef bint network_contains(const Network* network, const Address* address) noexcept nogil
cdef bint network_parse(bytes text, Network* out)                                # "10.0.0.0/8", "::1", "unix"; ValueError if it is none
