"""The ClientHello (see hello.pxd): a walk over record headers until the whole message has come, then one over the message.

Nothing is kept between calls. Each walks over the record headers again, 64 at most, and touches no byte of a message that is not whole; and
`need` says at which size the next byte that decides something stands: a record's type, version and length, the message's type and length,
the end of a record. So a client that sends a byte at a time costs a few calls for each record, and a verdict depends on the bytes in front
of it alone, never on how they were cut into reads.

What is refused, and the alert for it:
- A first byte of 0x80 and above is SSLv2's hello (RFC 5246 §E.2), as a version other than 3.x: protocol_version.
- Any other type, so also plain HTTP: unexpected_message. To an HTTP client an alert is seven bytes of nonsense, which is at least an answer
  that is not one ("HTTP/0.9"); a page would have to guess that its reader understands it.
- An empty record (RFC 8446 §5.1 forbids it), another message than client_hello, bytes behind the message in its record (§5.1: a message in
  front of a change of keys ends with its record): unexpected_message. A record above 2^14 bytes: record_overflow.
- A message or a number of records above our bounds: illegal_parameter, which others say then, too.
- Lengths that do not fit one another, vectors that are too short or too long: decode_error.
- An extension that comes twice, a server_name that is not exactly one host_name of letters, digits, "-", "_" and dots between labels:
  illegal_parameter.

A name is not looked at further. RFC 6066 §3 forbids literals of addresses: one of IPv6 is refused for its colons; one of IPv4 is a name
like another, which takes the routes that say so. All that only matters between client and server (cipher suites, key shares, whether
pre_shared_key stands last) is theirs to judge.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset
from proxyd_ext.core.fault cimport FAULT_HELLO
from proxyd_ext.core.slice cimport Slice, ascii_lower, slice_of


cdef enum:
    RECORD_FRONT = 5          # bytes of a record's header: type, version, length (RFC 8446 §5.1)
    RECORD_MAX = 1 << 14
    RECORD_HANDSHAKE = 22
    RECORD_ALERT = 21
    MESSAGE_FRONT = 4         # bytes of a message's header: type, length (§4)
    MESSAGE_CLIENT_HELLO = 1

    VERSION_TLS_12 = 0x0303
    NAME_MAX = 255            # RFC 1035 §2.3.4

    EXTENSION_SERVER_NAME = 0
    EXTENSION_ALPN = 16
    EXTENSION_SUPPORTED_VERSIONS = 43
    EXTENSION_ECH = 0xFE0D


ctypedef struct Reader:
    # What is left of a vector (RFC 8446 §3.4).
    uint8_t* at
    uint8_t* end


cdef inline uint16_t _u16(const uint8_t* p) noexcept nogil:
    return <uint16_t>(p[0] << 8 | p[1])


cdef inline int _refuse(ClientHello* out, uint8_t alert) noexcept nogil:
    out.alert = alert
    return -FAULT_HELLO


# ---- records

cdef int _find_message(const uint8_t* data, size_t size, size_t* need, size_t* message, ClientHello* out) noexcept nogil:
    """Walk over the records.  1: the message is whole, of message[0] bytes; 0: `need` says how far it goes on; -FAULT_HELLO."""
    cdef size_t at = 0, end, length, i, got = 0, total = 0     # got: bytes of the message in front of this record; total: 0, not known yet
    cdef int records = 0
    while True:
        need[0] = at + 1
        if size < need[0]:
            return 0
        if data[at] != RECORD_HANDSHAKE:
            return _refuse(out, ALERT_PROTOCOL_VERSION if at == 0 and data[0] & 0x80 else ALERT_UNEXPECTED_MESSAGE)
        need[0] = at + 2
        if size < need[0]:
            return 0
        if data[at + 1] != 3:
            return _refuse(out, ALERT_PROTOCOL_VERSION)
        need[0] = at + RECORD_FRONT
        if size < need[0]:
            return 0
        length = _u16(data + at + 3)
        if length == 0:
            return _refuse(out, ALERT_UNEXPECTED_MESSAGE)
        if length > RECORD_MAX:
            return _refuse(out, ALERT_RECORD_OVERFLOW)
        records += 1
        at += RECORD_FRONT
        end = at + length
        i = at
        while got < MESSAGE_FRONT and i < end:
            need[0] = i + 1
            if size < need[0]:
                return 0
            if got == 0 and data[i] != MESSAGE_CLIENT_HELLO:
                return _refuse(out, ALERT_UNEXPECTED_MESSAGE)
            if got > 0:
                total = total << 8 | data[i]
            got += 1
            i += 1
            if got == MESSAGE_FRONT:
                total += MESSAGE_FRONT
                if total > HELLO_MAX:
                    return _refuse(out, ALERT_ILLEGAL_PARAMETER)
        if got >= MESSAGE_FRONT:
            got += end - i
            if got > total:
                return _refuse(out, ALERT_UNEXPECTED_MESSAGE)
            if got == total:
                need[0] = end
                message[0] = total
                return 1 if size >= end else 0
        if records == HELLO_RECORDS:
            return _refuse(out, ALERT_ILLEGAL_PARAMETER)
        at = end


cdef void _gather(const uint8_t* data, size_t message, uint8_t* scratch) noexcept nogil:
    """Put the message together, whose records have all been looked at."""
    cdef size_t at = 0, length
    while at < message:
        length = _u16(data + 3)
        memcpy(scratch + at, data + RECORD_FRONT, length)
        at += length
        data += RECORD_FRONT + length


# ---- the message

cdef inline bint _take(Reader* reader, size_t size, Reader* out) noexcept nogil:
    """Take that many bytes off the front.  False: there are not so many."""
    if <size_t>(reader.end - reader.at) < size:
        return False
    out.at = reader.at
    out.end = reader.at = reader.at + size
    return True


cdef inline bint _take_vector(Reader* reader, int width, size_t least, size_t most, Reader* out) noexcept nogil:
    """Take a vector whose length stands in `width` bytes, 1 or 2.  False: it is too short or too long, or does not fit."""
    cdef Reader front
    cdef size_t size
    if not _take(reader, width, &front):
        return False
    size = front.at[0] if width == 1 else _u16(front.at)
    return least <= size <= most and _take(reader, size, out)


cdef inline size_t _left(const Reader* reader) noexcept nogil:
    return reader.end - reader.at


cdef int _read_name(Reader body, ClientHello* out) noexcept nogil:
    """server_name (RFC 6066 §3): its one name, lower-cased in place.  0, or the alert."""
    cdef Reader names, kind, name
    cdef uint8_t* p
    if not _take_vector(&body, 2, 1, 0xFFFF, &names) or _left(&body):
        return ALERT_DECODE_ERROR
    if not _take(&names, 1, &kind) or kind.at[0] != 0:
        return ALERT_ILLEGAL_PARAMETER
    if not _take_vector(&names, 2, 1, 0xFFFF, &name):
        return ALERT_DECODE_ERROR
    if _left(&names) or _left(&name) > NAME_MAX:
        return ALERT_ILLEGAL_PARAMETER
    p = name.at
    while p < name.end:
        p[0] = ascii_lower(p[0])
        if p[0] == c'.':
            if p == name.at or p[-1] == c'.':
                return ALERT_ILLEGAL_PARAMETER
        elif not (c'a' <= p[0] <= c'z' or c'0' <= p[0] <= c'9' or p[0] == c'-' or p[0] == c'_'):
            return ALERT_ILLEGAL_PARAMETER
        p += 1
    if p[-1] == c'.':
        p -= 1
    out.name = slice_of(name.at, p - name.at)
    return 0


cdef int _read_alpn(Reader body, ClientHello* out) noexcept nogil:
    """application_layer_protocol_negotiation (RFC 7301 §3.1).  0, or the alert."""
    cdef Reader names, name
    if not _take_vector(&body, 2, 2, 0xFFFF, &names) or _left(&body):
        return ALERT_DECODE_ERROR
    out.alpn = slice_of(names.at, _left(&names))
    while _left(&names):
        if not _take_vector(&names, 1, 1, 0xFF, &name):
            return ALERT_DECODE_ERROR
    return 0


cdef int _read_versions(Reader body, ClientHello* out) noexcept nogil:
    """supported_versions (RFC 8446 §4.2.1): the highest 3.x; GREASE, drafts and whatever else are no versions, 0: there is none.

    0, or the alert.
    """
    cdef Reader versions
    cdef uint16_t version
    if not _take_vector(&body, 1, 2, 254, &versions) or _left(&body) or _left(&versions) & 1:
        return ALERT_DECODE_ERROR
    out.version = 0
    while _left(&versions):
        version = _u16(versions.at)
        if version >> 8 == 3 and version > out.version:
            out.version = version
        versions.at += 2
    return 0


cdef int _read_extensions(Reader list, ClientHello* out) noexcept nogil:
    """0, or the alert."""
    cdef uint32_t[2048] seen              # a bit for each type there may be
    cdef Reader front, body
    cdef uint16_t kind
    cdef int alert = 0
    memset(seen, 0, sizeof(seen))
    while _left(&list):
        if not _take(&list, 2, &front) or not _take_vector(&list, 2, 0, 0xFFFF, &body):
            return ALERT_DECODE_ERROR
        kind = _u16(front.at)
        if seen[kind >> 5] >> (kind & 31) & 1:
            return ALERT_ILLEGAL_PARAMETER
        seen[kind >> 5] |= <uint32_t>1 << (kind & 31)
        if kind == EXTENSION_SERVER_NAME:
            alert = _read_name(body, out)
        elif kind == EXTENSION_ALPN:
            alert = _read_alpn(body, out)
        elif kind == EXTENSION_SUPPORTED_VERSIONS:
            alert = _read_versions(body, out)
        elif kind == EXTENSION_ECH:
            out.ech = True
        if alert:
            return alert
    return 0


cdef int _read_message(Reader message, ClientHello* out) noexcept nogil:
    """0, or the alert."""
    cdef Reader version, ignored, suites, extensions
    if not _take(&message, 2, &version):
        return ALERT_DECODE_ERROR
    if version.at[0] < 3:
        return ALERT_PROTOCOL_VERSION
    # More than it can be means 1.2 (RFC 8446 §4.2.1): newer ones stand in supported_versions.
    out.version = _u16(version.at)
    if out.version > VERSION_TLS_12:
        out.version = VERSION_TLS_12
    if (not _take(&message, 32, &ignored) or not _take_vector(&message, 1, 0, 32, &ignored)
            or not _take_vector(&message, 2, 2, 0xFFFE, &suites) or _left(&suites) & 1
            or not _take_vector(&message, 1, 1, 0xFF, &ignored)):
        return ALERT_DECODE_ERROR
    if _left(&message) == 0:
        return 0
    if not _take_vector(&message, 2, 0, 0xFFFF, &extensions) or _left(&message):
        return ALERT_DECODE_ERROR
    return _read_extensions(extensions, out)


cdef int hello_parse(const uint8_t* data, size_t size, uint8_t* scratch, size_t* need, ClientHello* out) noexcept nogil:
    cdef Reader message
    cdef size_t total = 0
    cdef int rc, alert
    memset(out, 0, sizeof(ClientHello))
    rc = _find_message(data, size, need, &total, out)
    if rc <= 0:
        return rc
    _gather(data, total, scratch)
    message.at, message.end = scratch + MESSAGE_FRONT, scratch + total
    alert = _read_message(message, out)
    return _refuse(out, <uint8_t>alert) if alert else 1


cdef bint hello_offers(Slice alpn, Slice protocol) noexcept nogil:
    cdef size_t at = 0
    while at < alpn.size:
        if alpn.data[at] == protocol.size and memcmp(alpn.data + at + 1, protocol.data, protocol.size) == 0:
            return True
        at += 1 + alpn.data[at]
    return False


cdef void alert_write(uint8_t* out, uint8_t alert) noexcept nogil:
    out[0], out[1], out[2], out[3], out[4] = RECORD_ALERT, 3, 3, 0, 2
    out[5] = 2                # fatal
    out[6] = alert


# ---- for tests and tools

def parse(data: bytes, *, cuts=()) -> tuple[int, dict]:
    """hello_parse of data[:cuts[0]], data[:cuts[1]], ..., data, each in a block of exactly its size: the first result that is not 0.

    Returns it with {name, alpn, version, ech, alert, need}; name and alpn are None where the slice has no data.
    """
    cdef const uint8_t* source = data
    cdef uint8_t* block
    cdef uint8_t* scratch = <uint8_t*>malloc(HELLO_MAX)
    cdef ClientHello hello
    cdef size_t size, need = 0
    cdef int rc = 0
    try:
        for size in [*cuts, len(data)]:
            if size > <size_t>len(data):
                raise ValueError(f"a cut at {size} is out of range")
            block = <uint8_t*>malloc(size)
            if block == NULL or scratch == NULL:
                free(block)
                raise MemoryError
            memcpy(block, source, size)
            with nogil:
                rc = hello_parse(block, size, scratch, &need, &hello)
            free(block)
            if rc != 0:
                break
        return rc, {
            "name": None if hello.name.data == NULL else <bytes>hello.name.data[:hello.name.size],
            "alpn": None if hello.alpn.data == NULL else <bytes>hello.alpn.data[:hello.alpn.size],
            "version": hello.version, "ech": bool(hello.ech), "alert": hello.alert, "need": need,
        }
    finally:
        free(scratch)


def offers(alpn: bytes, protocol: bytes) -> bool:
    """hello_offers."""
    return hello_offers(slice_of(<const uint8_t*><const char*>alpn, len(alpn)),
                        slice_of(<const uint8_t*><const char*>protocol, len(protocol)))


def alert(number: int) -> bytes:
    """alert_write."""
    cdef uint8_t[ALERT_BYTES] out
    alert_write(out, number)
    return <bytes>out[:ALERT_BYTES]
