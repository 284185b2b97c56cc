# cython: cdivision=True
"""The PROXY protocol (see proxy.pxd), as one walk over the bytes for each version.

A header that has not come whole is refused as soon as nothing could complete it, so that a client that speaks something else hears it at
once and not when its time is over. For version 1 that means to ask of half an address whether it can become one: `_shortest_end` tries the
few endings that complete whatever can be completed. Headers come in one packet (§2), so nothing is kept from one read to the next.

What the text leaves to the receiver is decided like this:
- LOCAL: everything behind the fixed part is skipped unread, "including the family which is ignored" (§2.2).
- AF_UNSPEC, and the unspecified transport: nobody says where addresses of such a kind end, so there is no place where type-length-value
  fields would begin; skipped unread, too.
- UNKNOWN is the word by itself or with a space behind it; then anything, lone CR and LF included, up to CRLF (§2.1).
- An IPv6 address may end in a dotted quad, which inet_ntop(3) writes for IPv4-mapped ones and HAProxy therefore sends.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset
from proxyd_ext.core.address cimport ADDRESS_TEXT, ADDRESS_UNIX, ADDRESS_V4, ADDRESS_V6, Address, address_parse, address_write
from proxyd_ext.core.fault cimport FAULT_PROXY_HEADER
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_of
from proxyd_ext.preface.crc32c cimport crc32c


cdef enum:
    SIGNATURE = 12            # bytes
    FIXED = 16                # bytes of version 2 in front of the addresses
    TLV_FRONT = 3             # bytes of type and length

    COMMAND_LOCAL = 0x20      # with the version in the upper half
    COMMAND_PROXY = 0x21

    FAMILY_NONE = 0
    FAMILY_V4 = 1
    FAMILY_V6 = 2
    FAMILY_UNIX = 3

    # §2.2, and the type-length-value fields of 2.2.1 to 2.2.5.
    TLV_ALPN = 0x01
    TLV_AUTHORITY = 0x02
    TLV_CRC32C = 0x03
    TLV_UNIQUE_ID = 0x05

    ENDING_MAX = 7            # bytes that the beginning of an address may need

cdef const uint8_t* _SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
cdef const uint8_t* _MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"        # RFC 4291 §2.5.5.2


ctypedef struct Line:
    # Where a walk over a version 1 line stands.
    const uint8_t* at
    const uint8_t* end        # of the bytes that there are
    size_t least              # bytes that must still come behind what is being read, at least


# ---- version 1

cdef inline int _expect(Line* line, const char* text, size_t size) noexcept nogil:
    """Is the text next?  1, and it is behind us; 0: so far as there are bytes; -FAULT_PROXY_HEADER."""
    cdef size_t there = line.end - line.at
    if there > size:
        there = size
    if memcmp(line.at, text, there) != 0:
        return -FAULT_PROXY_HEADER
    if there < size:
        line.least += size - there
        return 0
    line.at += size
    return 1


cdef bint _is_address(Slice text, bint colons, Address* out) noexcept nogil:
    """Read a literal of IPv6 (`colons`) or IPv4; an IPv4-mapped one becomes IPv4."""
    return (text.size != 0 and (memchr(text.data, c':', text.size) != NULL) == colons) and address_parse(text, out)


cdef int _shortest_end(Slice text, bint colons) noexcept nogil:
    """How many bytes make the beginning of an address whole, at least; -1: none do.

    What can be completed at all, one of these completes: nothing, or "0" behind "::"; ":" behind a colon, "::" behind up to seven groups;
    and for dotted ones the octets that are missing, which are the last bytes of ".0.0.0.0".
    """
    cdef uint8_t[ADDRESS_TEXT + ENDING_MAX] whole
    cdef Address ignored
    cdef int size
    if text.size > ADDRESS_TEXT:
        return -1
    if text.size:
        memcpy(whole, text.data, text.size)
    for size in range(ENDING_MAX + 1):
        memcpy(whole + text.size, <const char*>b".0.0.0.0" + 8 - size, size)
        if _is_address(slice_of(whole, text.size + size), colons, &ignored):
            return size
        if size == 1 or size == 2:
            memset(whole + text.size, c':', size)
            if _is_address(slice_of(whole, text.size + size), colons, &ignored):
                return size
    return -1


cdef int _read_address(Line* line, bint colons, Address* out) noexcept nogil:
    """Read an address and the space behind it.  1; 0: so far as there are bytes; -FAULT_PROXY_HEADER."""
    cdef const uint8_t* p = line.at
    cdef Slice text
    cdef int missing
    while p < line.end and (c'0' <= p[0] <= c':' or c'a' <= (p[0] | 0x20) <= c'f' or p[0] == c'.'):
        p += 1
    text = slice_of(line.at, p - line.at)
    if p == line.end:
        missing = _shortest_end(text, colons)
        if missing < 0:
            return -FAULT_PROXY_HEADER
        line.least += missing + 1
        return 0
    if p[0] != c' ' or not _is_address(text, colons, out):
        return -FAULT_PROXY_HEADER
    line.at = p + 1
    return 1


cdef int _read_port(Line* line, uint8_t behind, uint16_t* out) noexcept nogil:
    """Read a port and the byte behind it.  1; 0: so far as there are bytes; -FAULT_PROXY_HEADER."""
    cdef const uint8_t* p = line.at
    cdef uint32_t port = 0
    while p < line.end and c'0' <= p[0] <= c'9':
        port = port * 10 + p[0] - c'0'
        if port > 65535 or (p > line.at and line.at[0] == c'0'):
            return -FAULT_PROXY_HEADER
        p += 1
    if p == line.end:
        line.least += 1 + (p == line.at)
        return 0
    if p[0] != behind or p == line.at:
        return -FAULT_PROXY_HEADER
    out[0] = <uint16_t>port
    line.at = p + 1
    return 1


cdef int _read_inet(Line* line, bint colons, ProxyHeader* out) noexcept nogil:
    """Read what stands behind "PROXY TCP4 " or "PROXY TCP6 ".  1; 0: so far as there are bytes; -FAULT_PROXY_HEADER."""
    cdef int rc
    # `least` starts as what the fields behind the one being read need: ":: 0 0\r\n" or "0.0.0.0 0 0\r\n", and so on.
    line.least = 8 if colons else 13
    rc = _read_address(line, colons, &out.source)
    if rc > 0:
        line.least = 5
        rc = _read_address(line, colons, &out.destination)
    if rc > 0:
        line.least = 3
        rc = _read_port(line, c' ', &out.source.port)
    if rc > 0:
        line.least = 1
        rc = _read_port(line, c'\r', &out.destination.port)
    if rc > 0:
        line.least = 0
        rc = _expect(line, "\n", 1)
    return rc


cdef int _read_unknown(Line* line) noexcept nogil:
    """Read what stands behind "PROXY UNKNOWN".  1; 0: so far as there are bytes; -FAULT_PROXY_HEADER."""
    cdef const uint8_t* p = line.at
    if p < line.end and p[0] != c' ' and p[0] != c'\r':
        return -FAULT_PROXY_HEADER
    if p < line.end and p[0] == c'\r':
        return _expect(line, "\r\n", 2)
    while line.end - p >= 2:
        if p[0] == c'\r' and p[1] == c'\n':
            line.at = p + 2
            return 1
        p += 1
    line.least = 1 if p < line.end and p[0] == c'\r' else 2
    return 0


cdef int _parse_line(const uint8_t* data, size_t size, ProxyHeader* out) noexcept nogil:
    cdef Line line
    cdef uint8_t kind = 0
    cdef int rc
    line.at = data
    line.end = data + (size if size < PROXY_V1_MAX else PROXY_V1_MAX)
    line.least = 0
    out.version = 1
    rc = _expect(&line, "PROXY ", 6)
    if rc <= 0:
        return rc
    if line.at == line.end:
        return 0
    if line.at[0] == c'U':
        rc = _expect(&line, "UNKNOWN", 7)
        if rc > 0:
            out.local = True
            rc = _read_unknown(&line)
    else:
        rc = _expect(&line, "TCP", 3)
        if rc > 0:
            if line.at == line.end:
                return 0
            kind = line.at[0]
            if kind != c'4' and kind != c'6':
                return -FAULT_PROXY_HEADER
            out.transport = PROXY_STREAM
            line.at += 1
            rc = _expect(&line, " ", 1)
        if rc > 0:
            rc = _read_inet(&line, kind == c'6', out)
    if rc == 0 and <size_t>(line.end - data) + line.least > PROXY_V1_MAX:
        return -FAULT_PROXY_HEADER        # what is still to come does not fit
    if rc > 0:
        out.size = <uint32_t>(line.at - data)
        return <int>out.size
    return rc


# ---- version 2

cdef inline uint16_t _u16(const uint8_t* p) noexcept nogil:
    return <uint16_t>(p[0] << 8 | p[1])


cdef void _take_address(const uint8_t* p, int family, uint16_t port, Address* out) noexcept nogil:
    memset(out, 0, sizeof(Address))
    out.port = port
    if family == FAMILY_V4 or memcmp(p, _MAPPED, 12) == 0:
        out.family = ADDRESS_V4
        memcpy(out.bytes, p if family == FAMILY_V4 else p + 12, 4)
    else:
        out.family = ADDRESS_V6
        memcpy(out.bytes, p, 16)


cdef int _read_tlvs(const uint8_t* data, size_t at, size_t there, size_t end, ProxyHeader* out) noexcept nogil:
    """Walk over the fields from `at` to `end`, of which `there` bytes have come.  0, or -FAULT_PROXY_HEADER."""
    cdef size_t checksum = 0
    cdef const uint8_t* value
    cdef Slice* wanted
    cdef uint16_t size
    cdef uint8_t kind
    cdef uint32_t crc
    while at < end:
        if end - at < TLV_FRONT:
            return -FAULT_PROXY_HEADER
        if there < at + TLV_FRONT:
            return 0
        kind, size = data[at], _u16(data + at + 1)
        at += TLV_FRONT
        if size > end - at:
            return -FAULT_PROXY_HEADER
        value = data + at
        wanted = NULL
        if kind == TLV_ALPN:
            wanted = &out.alpn
        elif kind == TLV_AUTHORITY:
            wanted = &out.authority
        elif kind == TLV_UNIQUE_ID:
            wanted = &out.unique_id
            if size > PROXY_UNIQUE_ID_MAX:
                return -FAULT_PROXY_HEADER
        elif kind == TLV_CRC32C:
            if size != 4 or checksum:
                return -FAULT_PROXY_HEADER
            checksum = at
        if wanted != NULL:
            if wanted.data != NULL:       # twice: which of them?
                return -FAULT_PROXY_HEADER
            wanted[0] = slice_of(value, size)
        at += size
    if checksum and there >= end:
        # Of the whole header, with the checksum's own bytes taken as zero (§2.2.3).
        crc = crc32c(0, data, checksum)
        crc = crc32c(crc, <const uint8_t*>b"\0\0\0\0", 4)
        crc = crc32c(crc, data + checksum + 4, end - checksum - 4)
        if crc != (<uint32_t>_u16(data + checksum) << 16 | _u16(data + checksum + 2)):
            return -FAULT_PROXY_HEADER
    return 0


cdef int _parse_binary(const uint8_t* data, size_t size, int transport, ProxyHeader* out) noexcept nogil:
    cdef size_t end, addresses = 0
    cdef int family, told
    if memcmp(data, _SIGNATURE, size if size < SIGNATURE else SIGNATURE) != 0:
        return -FAULT_PROXY_HEADER
    out.version = 2
    if size > 12 and data[12] != COMMAND_LOCAL and data[12] != COMMAND_PROXY:
        return -FAULT_PROXY_HEADER
    if size <= 13:
        return 0
    family, told = data[13] >> 4, data[13] & 15
    if data[12] == COMMAND_LOCAL:
        family = told = 0
    if family > FAMILY_UNIX or told > PROXY_DGRAM or (told != 0 and told != transport):
        return -FAULT_PROXY_HEADER
    if size < FIXED:
        # The upper half of the length is enough to refuse it.
        return -FAULT_PROXY_HEADER if size == 15 and data[14] << 8 > PROXY_READ_MAX - FIXED else 0
    end = FIXED + _u16(data + 14)
    out.local = family == FAMILY_NONE or told == 0 or family == FAMILY_UNIX
    out.transport = <uint8_t>told
    if family != FAMILY_NONE and told != 0:
        addresses = 216 if family == FAMILY_UNIX else 36 if family == FAMILY_V6 else 12
    if end > PROXY_READ_MAX or end < FIXED + addresses:
        return -FAULT_PROXY_HEADER
    if addresses:
        if _read_tlvs(data, FIXED + addresses, size if size < end else end, end, out) < 0:
            return -FAULT_PROXY_HEADER
    if size < end:
        return 0
    if not out.local:
        _take_address(data + FIXED, family, _u16(data + FIXED + addresses - 4), &out.source)
        _take_address(data + FIXED + (addresses - 4) // 2, family, _u16(data + FIXED + addresses - 2), &out.destination)
    out.size = <uint32_t>end
    return <int>end


cdef int proxy_parse(const uint8_t* data, size_t size, int transport, ProxyHeader* out) noexcept nogil:
    cdef int rc = 0
    memset(out, 0, sizeof(ProxyHeader))
    if size == 0:
        pass
    elif data[0] == _SIGNATURE[0]:
        rc = _parse_binary(data, size, transport, out)
    elif data[0] == c'P' and transport == PROXY_STREAM:
        rc = _parse_line(data, size, out)
    else:
        rc = -FAULT_PROXY_HEADER
    return -FAULT_PROXY_HEADER if rc == 0 and transport == PROXY_DGRAM else rc


# ---- writing

cdef void _spread(const Address* address, uint8_t* out) noexcept nogil:
    """The 16 bytes of an address as IPv6."""
    if address.family == ADDRESS_V6:
        memcpy(out, address.bytes, 16)
    else:
        memcpy(out, _MAPPED, 12)
        memcpy(out + 12, address.bytes, 4)


cdef size_t _write_hex(uint8_t* out, uint16_t group) noexcept nogil:
    """A group of an IPv6 address, without leading zeros."""
    cdef const uint8_t* digits = b"0123456789abcdef"
    cdef size_t at = 0
    cdef int shift
    for shift in range(12, -1, -4):
        if group >> shift or shift == 0:
            out[at] = digits[group >> shift & 15]
            at += 1
    return at


cdef size_t _write_text(uint8_t* out, const Address* address, bint v6) noexcept nogil:
    """An address, of IPv4 as IPv6 in groups of digits if need be: the text of the protocol knows no dotted quads there (§2.1)."""
    cdef size_t at = 7
    if address.family == ADDRESS_V6 or not v6:
        return address_write(address, out)
    memcpy(out, <const char*>b"::ffff:", 7)
    at += _write_hex(out + at, _u16(address.bytes))
    out[at] = c':'
    return at + 1 + _write_hex(out + at + 1, _u16(address.bytes + 2))


cdef size_t _write_port(uint8_t* out, uint32_t port, uint8_t behind) noexcept nogil:
    cdef uint8_t[5] digits
    cdef size_t at = 0, i
    while True:
        digits[at] = <uint8_t>(c'0' + port % 10)
        at += 1
        port //= 10
        if port == 0:
            break
    for i in range(at):
        out[i] = digits[at - 1 - i]
    out[at] = behind
    return at + 1


cdef size_t _write_line(uint8_t* out, int transport, const Address* source, const Address* destination) noexcept nogil:
    cdef bint v6 = source.family == ADDRESS_V6 or destination.family == ADDRESS_V6
    cdef size_t at = 11
    if source.family == ADDRESS_UNIX or destination.family == ADDRESS_UNIX or transport != PROXY_STREAM:
        memcpy(out, <const char*>b"PROXY UNKNOWN\r\n", 15)
        return 15
    memcpy(out, <const char*>(b"PROXY TCP6 " if v6 else b"PROXY TCP4 "), 11)
    at += _write_text(out + at, source, v6)
    out[at] = c' '
    at += 1
    at += _write_text(out + at, destination, v6)
    out[at] = c' '
    at += 1
    at += _write_port(out + at, source.port, c' ')
    at += _write_port(out + at, destination.port, c'\r')
    out[at] = c'\n'
    return at + 1


cdef inline void _put_u16(uint8_t* out, uint32_t value) noexcept nogil:
    out[0] = <uint8_t>(value >> 8)
    out[1] = <uint8_t>value


cdef inline size_t _put_tlv(uint8_t* out, uint8_t kind, const uint8_t* value, uint16_t size) noexcept nogil:
    out[0] = kind
    _put_u16(out + 1, size)
    if size:
        memcpy(out + TLV_FRONT, value, size)
    return TLV_FRONT + size


cdef size_t _write_binary(uint8_t* out, int transport, const Address* source, const Address* destination, bint crc,
                          Slice unique_id) noexcept nogil:
    cdef bint v6 = source.family == ADDRESS_V6 or destination.family == ADDRESS_V6
    cdef size_t at = FIXED
    cdef uint32_t sum
    INVARIANT(unique_id.size <= PROXY_UNIQUE_ID_MAX)
    memcpy(out, _SIGNATURE, SIGNATURE)
    if source.family == ADDRESS_UNIX or destination.family == ADDRESS_UNIX:
        out[12], out[13] = COMMAND_LOCAL, 0
    else:
        out[12], out[13] = COMMAND_PROXY, <uint8_t>((FAMILY_V6 if v6 else FAMILY_V4) << 4 | transport)
        if v6:
            _spread(source, out + at)
            _spread(destination, out + at + 16)
            at += 32
        else:
            memcpy(out + at, source.bytes, 4)
            memcpy(out + at + 4, destination.bytes, 4)
            at += 8
        _put_u16(out + at, source.port)
        _put_u16(out + at + 2, destination.port)
        at += 4
    if unique_id.data != NULL:
        at += _put_tlv(out + at, TLV_UNIQUE_ID, unique_id.data, <uint16_t>unique_id.size)
    if crc:
        at += _put_tlv(out + at, TLV_CRC32C, <const uint8_t*>b"\0\0\0\0", 4)
    _put_u16(out + 14, <uint32_t>(at - FIXED))
    if crc:
        sum = crc32c(0, out, at)
        _put_u16(out + at - 4, sum >> 16)
        _put_u16(out + at - 2, sum & 0xFFFF)
    return at


cdef size_t proxy_write(uint8_t* out, int version, int transport, const Address* source, const Address* destination, bint crc,
                        Slice unique_id) noexcept nogil:
    if version == 1:
        return _write_line(out, transport, source, destination)
    return _write_binary(out, transport, source, destination, crc, unique_id)


# ---- for tests and tools

cdef object _bytes_or_none(Slice s):
    return None if s.data == NULL else <bytes>s.data[:s.size]


cdef object _endpoint(const Address* address):
    cdef uint8_t[ADDRESS_TEXT] text
    return (<bytes>text[:address_write(address, text)]).decode(), address.port


cdef object _describe(const ProxyHeader* header):
    return {
        "size": header.size, "version": header.version, "transport": header.transport, "local": bool(header.local),
        "source": None if header.local else _endpoint(&header.source),
        "destination": None if header.local else _endpoint(&header.destination),
        "alpn": _bytes_or_none(header.alpn), "authority": _bytes_or_none(header.authority), "unique_id": _bytes_or_none(header.unique_id),
    }


def parse(data: bytes, *, cuts=(), datagram: bool = False) -> dict | int:
    """proxy_parse of data[:cuts[0]], data[:cuts[1]], ..., data, each in a block of exactly its size: the first result that is not 0.

    Returns the header, 0 when it is incomplete, or -FAULT_PROXY_HEADER.
    """
    cdef const uint8_t* source = data
    cdef int transport = PROXY_DGRAM if datagram else PROXY_STREAM, rc = 0
    cdef uint8_t* block
    cdef ProxyHeader header
    cdef size_t size
    for size in [*cuts, len(data)]:
        if size > <size_t>len(data):
            raise ValueError(f"a cut at {size} is out of range")
        block = <uint8_t*>malloc(size)
        if block == NULL:
            raise MemoryError
        memcpy(block, source, size)
        with nogil:
            rc = proxy_parse(block, size, transport, &header)
        try:
            if rc > 0:
                return _describe(&header)
        finally:
            free(block)
        if rc < 0:
            break
    return rc


cdef int _read_endpoint(object endpoint, Address* out) except -1:
    cdef bytes text = endpoint[0].encode()
    memset(out, 0, sizeof(Address))
    if text == b"unix":
        return 0
    if not address_parse(slice_of(<const uint8_t*><const char*>text, len(text)), out):
        raise ValueError(f"not an address: {endpoint[0]}")
    out.port = endpoint[1]
    return 0


def write(version: int, source: tuple[str, int], destination: tuple[str, int], *, datagram: bool = False, crc: bool = False,
          unique_id: bytes | None = None) -> bytes:
    """proxy_write; the address "unix" is none."""
    cdef Address a, b
    cdef Slice id = slice_empty()
    cdef uint8_t* out
    cdef size_t size
    if unique_id is not None:
        if len(unique_id) > PROXY_UNIQUE_ID_MAX:
            raise ValueError("the unique id is too long")
        id = slice_of(<const uint8_t*><const char*>unique_id, len(unique_id))
    _read_endpoint(source, &a)
    _read_endpoint(destination, &b)
    out = <uint8_t*>malloc(PROXY_WRITE_MAX)       # exactly: a sanitizer sees a byte too many
    if out == NULL:
        raise MemoryError
    try:
        size = proxy_write(out, version, PROXY_DGRAM if datagram else PROXY_STREAM, &a, &b, crc, id)
        return <bytes>out[:size]
    finally:
        free(out)
