"""Path normalisation in one pass: escapes are settled byte by byte, dot segments at each segment's end, on what has been written."""
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from proxyd_ext.core.fault cimport FAULT_PATH_INVALID
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.http1.scan cimport PXD_ESCAPE, PXD_PATH, PXD_UNRESERVED, pxd_class


cdef extern from *:
    # _GNU_SOURCE comes too late in what Cython includes first.
    """
    extern void *memmem(const void *, size_t, const void *, size_t);
    """
    void* memmem(const void* haystack, size_t size, const void* needle, size_t needle_size) nogil


cdef const char* _HEX = "0123456789ABCDEF"


cdef inline int _hex_digit(uint8_t c) noexcept nogil:
    """Value of a hex digit, or -1."""
    if c'0' <= c <= c'9':
        return c - c'0'
    if c'A' <= c <= c'F':
        return c - c'A' + 10
    if c'a' <= c <= c'f':
        return c - c'a' + 10
    return -1


cdef inline int _unescape(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """The byte that the escape at p stands for, or -1 when it is none (RFC 3986 §2.1) or %00."""
    cdef int high, low
    if end - p < 3:
        return -1
    high = _hex_digit(p[1])
    low = _hex_digit(p[2])
    if high < 0 or low < 0 or high + low == 0:
        return -1
    return high * 16 + low


cdef inline int _dots(const uint8_t* segment, size_t size) noexcept nogil:
    """1 for ".", 2 for "..", else 0."""
    if size == 0 or size > 2 or segment[0] != c'.' or segment[size - 1] != c'.':
        return 0
    return <int>size


cdef inline bint _hides(const uint8_t* piece, size_t size) noexcept nogil:
    """Dots that some servers take for a dot segment although RFC 3986 does not: with path parameters behind them ("..;x")."""
    return size > 1 and piece[0] == c'.' and (piece[1] == c';' or size > 2 and piece[1] == c'.' and piece[2] == c';')


cdef inline bint _is_asterisk(Slice path) noexcept nogil:
    """The target of OPTIONS * is its own normal form."""
    return path.size == 1 and path.data[0] == c'*'


cdef int normalize_path(Slice path, uint8_t* out, size_t cap) noexcept nogil:
    # `segment` is where the segment being written began, behind its '/'.  The path is read as if one more '/' ended it, which
    # closes the last segment and is not written.
    cdef const uint8_t* p = path.data
    cdef const uint8_t* end = p + path.size
    cdef uint8_t* at = out
    cdef uint8_t* segment
    cdef uint8_t* piece       # of the segment, behind its last escaped slash
    cdef uint8_t c
    cdef int dots, byte
    if _is_asterisk(path) and cap > 0:
        out[0] = c'*'
        return 1
    if path.size == 0 or p[0] != c'/' or cap < 3 * path.size or path.size > 0x10000000:
        return -FAULT_PATH_INVALID
    at[0] = c'/'
    at += 1
    p += 1
    segment = piece = at
    while True:
        c = p[0] if p < end else c'/'
        if c == c'/':
            dots = _dots(segment, at - segment)
            if piece != segment and _dots(piece, at - piece) or _hides(piece, at - piece):
                return -FAULT_PATH_INVALID
            if dots == 0:
                if p == end:
                    return <int>(at - out)
                at[0] = c'/'
                at += 1
            else:
                # ".": the segment goes.  "..": the one before goes, too; there must be one (RFC 3986 §5.2.4 would stay at the root,
                # but a path that climbs above it is an attempt at something).
                at = segment
                if dots == 2:
                    if segment == out + 1:
                        return -FAULT_PATH_INVALID
                    at -= 1
                    while at[-1] != c'/':
                        at -= 1
                if p == end:
                    return <int>(at - out)
            segment = piece = at
            p += 1
        elif pxd_class[c] & PXD_PATH:
            at[0] = c
            at += 1
            p += 1
        elif c == c'%':
            byte = _unescape(p, end)
            if byte < 0:
                return -FAULT_PATH_INVALID
            if pxd_class[byte] & PXD_UNRESERVED:
                at[0] = <uint8_t>byte
                at += 1
            elif (byte == c'/' or byte == c'\\') and (_dots(piece, at - piece) or _hides(piece, at - piece)):
                return -FAULT_PATH_INVALID
            else:
                at[0] = c'%'
                at[1] = _HEX[byte >> 4]
                at[2] = _HEX[byte & 15]
                at += 3
                if byte == c'/' or byte == c'\\':
                    piece = at
            p += 3
        elif pxd_class[c] & PXD_ESCAPE:
            if c == c'\\' and (_dots(piece, at - piece) or _hides(piece, at - piece)):
                return -FAULT_PATH_INVALID
            at[0] = c'%'
            at[1] = _HEX[c >> 4]
            at[2] = _HEX[c & 15]
            at += 3
            p += 1
            if c == c'\\':
                piece = at
        else:
            return -FAULT_PATH_INVALID


cdef Slice merge_slashes(Slice path, uint8_t* out) noexcept nogil:
    cdef size_t i, at = 0
    if memmem(path.data, path.size, b"//", 2) == NULL:
        return path
    for i in range(path.size):
        if path.data[i] != c'/' or at == 0 or out[at - 1] != c'/':
            out[at] = path.data[i]
            at += 1
    return slice_of(out, at)


cdef bint path_is_normal(Slice path) noexcept nogil:
    cdef const uint8_t* p = path.data
    cdef const uint8_t* end = p + path.size
    cdef const uint8_t* segment
    cdef int byte
    if path.size == 0 or p[0] != c'/':
        return _is_asterisk(path)
    p += 1
    segment = p
    while p < end:
        if p[0] == c'/':
            if _dots(segment, p - segment) or _hides(segment, p - segment):
                return False
            p += 1
            segment = p           # or the piece of one behind an escaped slash
        elif pxd_class[p[0]] & PXD_PATH:
            p += 1
        elif p[0] == c'%':
            byte = _unescape(p, end)
            if byte < 0 or pxd_class[byte] & PXD_UNRESERVED or p[1] >= c'a' or p[2] >= c'a':
                return False
            if byte == c'/' or byte == c'\\':
                if _dots(segment, p - segment) or _hides(segment, p - segment):
                    return False
                segment = p + 3
            p += 3
        else:
            return False
    return not _dots(segment, p - segment) and not _hides(segment, p - segment)


# ---- for tests and tools

def normalize(path: bytes) -> bytes | int:
    """normalize_path on a block of exactly the path's size: the normal form or -FAULT_PATH_INVALID."""
    cdef size_t size = len(path)
    cdef const uint8_t* source = path
    cdef uint8_t* block = <uint8_t*>malloc(size)
    cdef uint8_t* out = <uint8_t*>malloc(3 * size)
    cdef int rc
    try:
        if block == NULL or out == NULL:
            raise MemoryError
        memcpy(block, source, size)
        rc = normalize_path(slice_of(block, size), out, 3 * size)
        return rc if rc < 0 else <bytes>out[:rc]
    finally:
        free(block)
        free(out)


def is_normal(path: bytes) -> bool:
    """path_is_normal on a block of exactly the path's size."""
    cdef size_t size = len(path)
    cdef const uint8_t* source = path
    cdef uint8_t* block = <uint8_t*>malloc(size)
    if block == NULL:
        raise MemoryError
    try:
        memcpy(block, source, size)
        return bool(path_is_normal(slice_of(block, size)))
    finally:
        free(block)


def merged(path: bytes) -> bytes:
    """merge_slashes."""
    cdef const uint8_t* source = path
    cdef uint8_t* out = <uint8_t*>malloc(len(path) + 1)
    cdef Slice found
    if out == NULL:
        raise MemoryError
    try:
        found = merge_slashes(slice_of(source, len(path)), out)
        return found.data[:found.size]
    finally:
        free(out)
