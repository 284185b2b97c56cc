# cython: cdivision=True
"""Addresses and networks (see address.pxd)."""
from libc.string cimport memchr, memcmp, memcpy, memset

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char* text, void* out)
    const char* inet_ntop(int family, const void* source, char* out, unsigned int size)
    enum:
        AF_INET, AF_INET6

cdef const char* _MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"   # RFC 4291 §2.5.5.2


cdef int address_write(const Address* address, uint8_t* out) noexcept nogil:
    cdef int i, at = 0
    cdef uint8_t octet
    cdef char[64] text
    if address.family == ADDRESS_V4:
        for i in range(4):
            octet = address.bytes[i]
            if octet >= 100:
                out[at] = c'0' + octet // 100
                at += 1
            if octet >= 10:
                out[at] = c'0' + (octet // 10) % 10
                at += 1
            out[at] = c'0' + octet % 10
            at += 1
            if i < 3:
                out[at] = c'.'
                at += 1
        return at
    if address.family == ADDRESS_V6:
        if inet_ntop(AF_INET6, address.bytes, text, 64) == NULL:
            return 0
        while text[at] != 0:
            out[at] = <uint8_t>text[at]
            at += 1
        return at
    memcpy(out, b"unix", 4)
    return 4


cdef bint address_parse(Slice text, Address* out) noexcept nogil:
    cdef char[64] copy
    if text.size == 0 or text.size >= 46 or memchr(text.data, 0, text.size) != NULL:
        return False
    memcpy(copy, text.data, text.size)
    copy[text.size] = 0
    memset(out, 0, sizeof(Address))
    if inet_pton(AF_INET, copy, out.bytes) == 1:
        out.family = ADDRESS_V4
        return True
    if inet_pton(AF_INET6, copy, out.bytes) != 1:
        return False
    out.family = ADDRESS_V6
    if memcmp(out.bytes, _MAPPED, 12) == 0:
        memcpy(out.bytes, out.bytes + 12, 4)
        memset(out.bytes + 4, 0, 12)
        out.family = ADDRESS_V4
    return True


cdef bint address_equals(const Address* a, const Address* b) noexcept nogil:
    return a.family == b.family and memcmp(a.bytes, b.bytes, 16) == 0


cdef bint network_contains(const Network* network, const Address* address) noexcept nogil:
    cdef int whole = network.bits >> 3
    cdef int rest = network.bits & 7
    if network.family != address.family:
        return False
    if memcmp(network.bytes, address.bytes, whole) != 0:
        return False
    return rest == 0 or ((network.bytes[whole] ^ address.bytes[whole]) >> (8 - rest)) == 0


cdef bint network_parse(bytes text, Network* out):
    cdef Address address
    cdef Slice s
    host, _, bits = text.partition(b"/")
    memset(out, 0, sizeof(Network))
    if text == b"unix":
        out.family = ADDRESS_UNIX
        return True
    s.data = host
    s.size = len(host)
    if not address_parse(s, &address):
        raise ValueError(f"not a network: {text.decode(errors='replace')}")
    limit = 32 if address.family == ADDRESS_V4 else 128
    width = int(bits) if bits else limit
    if not 0 <= width <= limit:
        raise ValueError(f"not a network: {text.decode(errors='replace')}")
    memcpy(out.bytes, address.bytes, 16)
    out.family = address.family
    out.bits = width
    return True
