"""The chunked coding: a state per byte position of the grammar, so that a body may be cut anywhere; data is moved in runs.

Strict: sizes are hex digits and nothing else, lines end in CRLF only, extensions hold no control bytes and are dropped (RFC 9112 §7.1.1
lets a recipient do so), trailer lines follow the same rules as the fields of a head.  What is sent on is framed anew.
"""
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy, memmove
from proxyd_ext.core.fault cimport FAULT_CHUNK_MALFORMED
from proxyd_ext.core.slice cimport Slice, ascii_lower, slice_of
from proxyd_ext.http1.scan cimport PXD_TOKEN, PXD_VALUE, is_blank, pxd_class


cdef enum:
    CS_SIZE = 0         # at the first digit of a chunk size, or among its digits
    CS_BLANK = 1        # blanks between the digits and ';' (BWS of RFC 9112 §7.1.1)
    CS_EXTENSION = 2    # behind the first ';'
    CS_SIZE_LF = 3      # LF of a size line
    CS_DATA = 4         # `left` bytes of data
    CS_DATA_CR = 5      # CR behind the data
    CS_DATA_LF = 6
    CS_FIELD = 7        # at the start of a trailer line, or of the empty line that ends the body
    CS_NAME = 8         # in the name of a trailer field
    CS_TEXT = 9         # in its value
    CS_TEXT_LF = 10
    CS_END_LF = 11      # LF of the closing empty line
    CS_DONE = 12
    CS_FAILED = 13

    SIZE_MAX_HEAD = 0x07FFFFFFFFFFFFFF   # one more digit may follow: sizes stay within INT64_MAX, so that sums cannot wrap


cdef void chunk_start(ChunkDecoder* decoder) noexcept nogil:
    decoder.left = 0
    decoder.line = 0
    decoder.overhead = 0
    decoder.state = CS_SIZE
    decoder.digits = 0
    decoder.trailers = NULL
    decoder.trailers_cap = 0
    decoder.trailers_size = 0


cdef inline int _hex_digit(uint8_t c) noexcept nogil:
    """Value of a hex digit, or -1."""
    if c'0' <= c <= c'9':
        return c - c'0'
    c |= 0x20
    if c'a' <= c <= c'f':
        return c - c'a' + 10
    return -1


cdef inline bint _count_overhead(ChunkDecoder* decoder) noexcept nogil:
    """Count one byte of a size line that carries nothing; false when there are too many of them."""
    decoder.line += 1
    decoder.overhead += 1
    return decoder.line <= CHUNK_EXTENSION_MAX and decoder.overhead <= CHUNK_EXTENSIONS_TOTAL


cdef inline bint _add_digit(ChunkDecoder* decoder, int digit) noexcept nogil:
    """One more digit of the size; false when the size overflows or has too many leading zeros."""
    if decoder.digits and decoder.left == 0 and not _count_overhead(decoder):
        return False
    if decoder.left > SIZE_MAX_HEAD:
        return False
    decoder.left = decoder.left << 4 | <uint64_t>digit
    if decoder.digits < 255:
        decoder.digits += 1
    return True


cdef inline bint _keep(ChunkDecoder* decoder, uint8_t c) noexcept nogil:
    """Keep a byte of the trailer section; false when it does not fit."""
    if decoder.trailers_size >= decoder.trailers_cap:
        return False
    decoder.trailers[decoder.trailers_size] = c
    decoder.trailers_size += 1
    return True


cdef inline bint _step(ChunkDecoder* decoder, uint8_t c) noexcept nogil:
    """Take one byte that is not data; false when it may not stand here."""
    cdef uint8_t state = decoder.state
    cdef int digit
    if state == CS_SIZE:
        digit = _hex_digit(c)
        if digit >= 0:
            return _add_digit(decoder, digit)
        if decoder.digits == 0:
            return False
        if c == c'\r':
            decoder.state = CS_SIZE_LF
            return True
        if c != c';' and not is_blank(c):
            return False
        decoder.state = CS_EXTENSION if c == c';' else CS_BLANK
        return _count_overhead(decoder)
    elif state == CS_BLANK:
        if c == c';':
            decoder.state = CS_EXTENSION
        elif not is_blank(c):
            return False
        return _count_overhead(decoder)
    elif state == CS_EXTENSION:
        if c == c'\r':
            decoder.state = CS_SIZE_LF
            return True
        return pxd_class[c] & PXD_VALUE and _count_overhead(decoder)
    elif state == CS_SIZE_LF:
        decoder.state = CS_FIELD if decoder.left == 0 else CS_DATA
        decoder.line = 0
        decoder.digits = 0
        return c == c'\n'
    elif state == CS_DATA_CR:
        decoder.state = CS_DATA_LF
        return c == c'\r'
    elif state == CS_DATA_LF:
        decoder.state = CS_SIZE
        return c == c'\n'
    elif state == CS_FIELD:
        if c == c'\r':
            decoder.state = CS_END_LF
            return True
        decoder.state = CS_NAME
        return pxd_class[c] & PXD_TOKEN and _keep(decoder, c)
    elif state == CS_NAME:
        if c == c':':
            decoder.state = CS_TEXT
        elif not pxd_class[c] & PXD_TOKEN:
            return False
        return _keep(decoder, c)
    elif state == CS_TEXT:
        if c == c'\r':
            decoder.state = CS_TEXT_LF
        elif not pxd_class[c] & PXD_VALUE:
            return False
        return _keep(decoder, c)
    elif state == CS_TEXT_LF:
        decoder.state = CS_FIELD
        return c == c'\n' and _keep(decoder, c)
    elif state == CS_END_LF:
        decoder.state = CS_DONE
        return c == c'\n'
    return False   # CS_FAILED


cdef int chunk_decode(ChunkDecoder* decoder, uint8_t* data, size_t size, size_t* data_size, size_t* consumed) noexcept nogil:
    cdef uint8_t* p = data
    cdef uint8_t* end = data + size
    cdef uint8_t* out = data
    cdef size_t n
    cdef int rc = CHUNK_MORE
    while True:
        if decoder.state == CS_DATA:
            n = end - p
            if n > decoder.left:
                n = decoder.left
            if out != p:
                memmove(out, p, n)
            out += n
            p += n
            decoder.left -= n
            if decoder.left:
                break
            decoder.state = CS_DATA_CR
        elif decoder.state == CS_DONE:
            rc = CHUNK_DONE
            break
        if p == end:
            break
        if decoder.state == CS_FIELD and p[0] != c'\r' and decoder.trailers == NULL:
            rc = CHUNK_TRAILERS
            break
        if not _step(decoder, p[0]):
            decoder.state = CS_FAILED
            rc = -FAULT_CHUNK_MALFORMED
            break
        p += 1
    data_size[0] = out - data
    consumed[0] = p - data
    return rc


cdef int chunk_write_head(uint64_t size, uint8_t* out) noexcept nogil:
    cdef int shift = 0, n = 0
    while shift < 60 and size >> (shift + 4):
        shift += 4
    while shift >= 0:
        out[n] = (<const uint8_t*>b"0123456789abcdef")[size >> shift & 15]
        n += 1
        shift -= 4
    out[n] = c'\r'
    out[n + 1] = c'\n'
    return n + 2


cdef inline bint _begins(Slice name, const char* low) noexcept nogil:
    """Does the name begin with this lower-case text, in any case?"""
    cdef size_t i = 0
    while low[i]:
        if i == name.size or ascii_lower(name.data[i]) != <uint8_t>low[i]:
            return False
        i += 1
    return True


cdef inline bint _is(Slice name, const char* low) noexcept nogil:
    return _begins(name, low) and low[name.size] == 0


cdef bint _may_trail(Slice name) noexcept nogil:
    """May this field stand in a trailer section (RFC 9110 §6.5.1)?  Digests may: they are what trailers are for (RFC 9530 §2)."""
    if _begins(name, "content-"):
        return _is(name, "content-digest") or _is(name, "content-md5")
    if _begins(name, "proxy-") or _begins(name, "x-forwarded-") or _begins(name, "if-") or _begins(name, "sec-"):
        return False
    if _is(name, "transfer-encoding") or _is(name, "trailer") or _is(name, "te"):                               # framing
        return False
    if _is(name, "host") or _is(name, "forwarded") or _is(name, "via") or _is(name, "x-real-ip") or _is(name, "x-request-id"):   # routing
        return False
    if _is(name, "connection") or _is(name, "keep-alive") or _is(name, "upgrade"):                              # hop-by-hop
        return False
    if _is(name, "authorization") or _is(name, "www-authenticate") or _is(name, "cookie") or _is(name, "set-cookie"):   # authentication
        return False
    if _is(name, "cache-control") or _is(name, "pragma") or _is(name, "range") or _is(name, "expect") or _is(name, "max-forwards"):
        return False
    return not (_is(name, "age") or _is(name, "date") or _is(name, "expires") or _is(name, "location") or _is(name, "retry-after")
                or _is(name, "vary") or _is(name, "warning"))   # control data of responses


cdef int chunk_write_trailers(const uint8_t* lines, size_t size, uint8_t* out) noexcept nogil:
    cdef const uint8_t* p = lines
    cdef const uint8_t* end = lines + size
    cdef const uint8_t* colon
    cdef const uint8_t* stop
    cdef uint8_t* at = out
    while p < end:
        stop = <const uint8_t*>memchr(p, c'\n', end - p)
        stop = end if stop == NULL else stop + 1
        colon = <const uint8_t*>memchr(p, c':', stop - p)
        if colon != NULL and _may_trail(slice_of(p, colon - p)):
            memcpy(at, p, stop - p)
            at += stop - p
        p = stop
    return <int>(at - out)


# ---- for tests and tools

def decode(pieces, *, trailers_cap: int = 4096, give_early: bool = False) -> tuple[int, bytes, bytes, bytes, bytes]:
    """Feed the pieces one after another, each from a block of exactly its size.

    Returns (CHUNK_* or -FAULT_CHUNK_MALFORMED, data, trailer lines, the lines that may be sent on, bytes behind the body).
    The trailer buffer is given when CHUNK_TRAILERS asks for it, or at the start if `give_early`.
    """
    cdef ChunkDecoder decoder
    cdef uint8_t* trailers = <uint8_t*>malloc(trailers_cap)
    cdef uint8_t* kept = <uint8_t*>malloc(trailers_cap)
    cdef uint8_t* block = NULL
    cdef size_t size, at, data_size = 0, consumed = 0
    cdef int rc = CHUNK_MORE
    cdef bytes piece
    body, rest = bytearray(), bytearray()
    try:
        if trailers == NULL or kept == NULL:
            raise MemoryError
        chunk_start(&decoder)
        decoder.trailers_cap = trailers_cap
        if give_early:
            decoder.trailers = trailers
        for piece in pieces:
            size = len(piece)
            block = <uint8_t*>malloc(size)
            if block == NULL:
                raise MemoryError
            memcpy(block, <const uint8_t*>piece, size)
            at = 0
            while rc >= 0:
                with nogil:
                    rc = chunk_decode(&decoder, block + at, size - at, &data_size, &consumed)
                body += <bytes>block[at:at + data_size]
                at += consumed
                if rc != CHUNK_TRAILERS:
                    break
                decoder.trailers = trailers
            rest += <bytes>block[at:size]
            free(block)
            block = NULL
        size = chunk_write_trailers(trailers, decoder.trailers_size, kept)
        return rc, bytes(body), <bytes>trailers[:decoder.trailers_size], <bytes>kept[:size], bytes(rest)
    finally:
        free(block)
        free(kept)
        free(trailers)


def head(size: int) -> bytes:
    """chunk_write_head."""
    cdef uint8_t[CHUNK_HEAD_MAX] out
    cdef int n = chunk_write_head(size, out)
    return <bytes>out[:n]
