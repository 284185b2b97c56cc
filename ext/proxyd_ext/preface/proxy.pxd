"""The PROXY protocol, versions 1 and 2, both ways (HAProxy's proxy-protocol.txt; section numbers below are of its revision of 2020/03/05).

Parsing is strict: what the text does not allow is malformed, nothing is guessed. Type-length-value fields (§2.2) are skipped but for those
named below; one that does not fit its length makes the whole header malformed, as does a CRC32c (§2.2.3) that is there and wrong, or one of
the named that comes twice. LOCAL and AF_UNSPEC have none that are read: what follows their fixed part is skipped (see proxy.pyx).
"""
from libc.stdint cimport uint8_t, uint32_t
from proxyd_ext.core.address cimport Address
from proxyd_ext.core.slice cimport Slice


cdef enum:
    PROXY_V1_MAX = 107        # bytes of the longest version 1 header, CRLF included (§2.1)
    PROXY_READ_MAX = 4096     # bytes of the longest header that is read; a longer one is malformed
    PROXY_WRITE_MAX = 256     # bytes that proxy_write needs at most
    PROXY_UNIQUE_ID_MAX = 128

    PROXY_STREAM = 1
    PROXY_DGRAM = 2


ctypedef struct ProxyHeader:
    uint32_t size             # of the whole header
    uint8_t version           # 1 or 2
    uint8_t transport         # PROXY_STREAM or PROXY_DGRAM; 0: not told
    bint local                # LOCAL, UNKNOWN, AF_UNSPEC or unix sockets: the connection's own addresses hold, `source` means nothing
    Address source            # with the port; an IPv4-mapped IPv6 address as IPv4
    Address destination
    Slice alpn                # PP2_TYPE_ALPN, of the bytes given; data NULL: not there
    Slice authority           # PP2_TYPE_AUTHORITY
    Slice unique_id           # PP2_TYPE_UNIQUE_ID


# Read the header that the bytes begin with.  Its size; 0: more bytes are needed, and may make one; -FAULT_PROXY_HEADER.
# `transport`: PROXY_STREAM or PROXY_DGRAM, what it must speak of (a datagram's header is version 2 and whole).
cdef int proxy_parse(const uint8_t* data, size_t size, int transport, ProxyHeader* out) noexcept nogil
# Write a header; the bytes written.  Where source and destination are of different families, both are written as IPv6; where one is none
# (a unix socket), version 1 says UNKNOWN and version 2 LOCAL; version 1 of datagrams, for which it has no word, is UNKNOWN, too.
# `unique_id`: data NULL: none, at most PROXY_UNIQUE_ID_MAX bytes; version 2 only, as is the CRC.
cdef size_t proxy_write(uint8_t* out, int version, int transport, const Address* source, const Address* destination, bint crc,
                        Slice unique_id) noexcept nogil
