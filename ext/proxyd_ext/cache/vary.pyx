"""Vary (see vary.pxd)."""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp
from proxyd_ext.cache.probe cimport OwnHead, bytes_slice, own_head
from proxyd_ext.core.slice cimport Slice, ascii_lower, slice_equals_nocase, slice_of
from proxyd_ext.http1.head cimport (
    FIELD_ACCEPT_ENCODING, FIELD_CONTENT_ENCODING, FIELD_FORWARDED, FIELD_VARY, FIELD_X_FORWARDED_FOR, FIELD_X_REAL_IP,
    FIELD_X_REQUEST_ID, Field, Head,
)
from proxyd_ext.http1.names cimport field_bit, field_id, field_value
from proxyd_ext.http1.scan cimport PXD_TOKEN, is_blank, pxd_class, word_is


cdef struct Writer:
    uint8_t* at       # where the next byte goes
    uint8_t* end      # end of the buffer
    bint full         # something did not fit


cdef inline void _put(Writer* w, uint8_t byte) noexcept nogil:
    if w.at == w.end:
        w.full = True
        return
    w.at[0] = byte
    w.at += 1


# ---- names

cdef int _compare(Slice a, Slice b) noexcept nogil:
    """Order of names without regard to case, as of their lower-case bytes."""
    cdef size_t i
    cdef size_t n = a.size if a.size < b.size else b.size
    for i in range(n):
        if ascii_lower(a.data[i]) != ascii_lower(b.data[i]):
            return <int>ascii_lower(a.data[i]) - ascii_lower(b.data[i])
    return 0 if a.size == b.size else -1 if a.size < b.size else 1


cdef bint _insert(Slice* names, int* count, Slice name) noexcept nogil:
    """Keep the names sorted, each once; False when there are too many."""
    cdef int i = count[0], j, order
    while i > 0:
        order = _compare(names[i - 1], name)
        if order == 0:
            return True
        if order < 0:
            break
        i -= 1
    if count[0] == VARY_NAMES_MAX:
        return False
    j = count[0]
    while j > i:
        names[j] = names[j - 1]
        j -= 1
    names[i] = name
    count[0] += 1
    return True


cdef int _read_names(Slice list, Slice* names, int* count) noexcept nogil:
    """Add the names of one field line; 0 or VARY_*."""
    cdef const uint8_t* p = list.data
    cdef const uint8_t* end = list.data + list.size
    cdef const uint8_t* start
    cdef Slice name
    while p < end:
        if p[0] == c',' or is_blank(p[0]):
            p += 1
            continue
        start = p
        while p < end and pxd_class[p[0]] & PXD_TOKEN:
            p += 1
        name = slice_of(start, p - start)
        while p < end and is_blank(p[0]):
            p += 1
        if name.size == 0 or (p < end and p[0] != c','):
            return VARY_TOO_MUCH
        if name.size == 1 and name.data[0] == c'*':
            return VARY_STAR
        if field_bit(field_id(name.data, name.size)) & (field_bit(FIELD_X_FORWARDED_FOR) | field_bit(FIELD_X_REAL_IP)
                                                        | field_bit(FIELD_FORWARDED) | field_bit(FIELD_X_REQUEST_ID)):
            return VARY_STAR
        if not _insert(names, count, name):
            return VARY_TOO_MUCH
    return 0


cdef int vary_names(const Head* answer, uint8_t* out, size_t cap) noexcept nogil:
    cdef Slice[VARY_NAMES_MAX] names
    cdef Writer w
    cdef int count = 0, verdict = 0, rc, k
    cdef uint32_t i
    cdef size_t j
    if answer.first[FIELD_VARY] == 0:
        return 0
    for i in range(<uint32_t>answer.first[FIELD_VARY] - 1, answer.field_count):
        if answer.fields[i].id != FIELD_VARY:
            continue
        rc = _read_names(field_value(answer, i), names, &count)
        if rc == VARY_STAR:
            return VARY_STAR
        if rc < 0:
            verdict = rc
    if verdict < 0:
        return verdict
    w.at, w.end, w.full = out, out + (cap if cap < VARY_NAMES_BYTES else VARY_NAMES_BYTES), False
    for k in range(count):
        if k:
            _put(&w, c',')
        for j in range(names[k].size):
            _put(&w, ascii_lower(names[k].data[j]))
    return VARY_TOO_MUCH if w.full else <int>(w.at - out)


cdef bint _next_name(Slice* rest, Slice* name) noexcept nogil:
    """Take the first name off a list as vary_names writes it; False when there is none left."""
    cdef size_t n = 0
    if rest.size == 0:
        return False
    while n < rest.size and rest.data[n] != c',':
        n += 1
    name[0] = slice_of(rest.data, n)
    n += n < rest.size
    rest[0] = slice_of(rest.data + n, rest.size - n)
    return True


cdef bint names_have(Slice names, const char* name, size_t size) noexcept nogil:
    cdef Slice one
    while _next_name(&names, &one):
        if one.size == size and memcmp(one.data, name, size) == 0:
            return True
    return False


# ---- codings

cdef inline int _coding(const uint8_t* p, size_t n) noexcept nogil:
    """ENCODING_* of a token; 0: identity, -1: another.  x-gzip is gzip (RFC 9110 §8.4.1.3)."""
    if n == 2 and word_is(p, "br", 2):
        return ENCODING_BR
    elif n == 4:
        if word_is(p, "gzip", 4):
            return ENCODING_GZIP
        if word_is(p, "zstd", 4):
            return ENCODING_ZSTD
    elif n == 6 and word_is(p, "x-gzip", 6):
        return ENCODING_GZIP
    elif n == 8 and word_is(p, "identity", 8):
        return 0
    return -1


cdef bint _is_refused(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """Do the parameters that begin at p give the weight 0 (RFC 9110 §12.4.2)?  What is no weight refuses, too: rather one variant more."""
    cdef bint zero
    while p < end:
        while p < end and (is_blank(p[0]) or p[0] == c';'):
            p += 1
        if end - p < 2 or (p[0] | 0x20) != c'q' or p[1] != c'=':
            while p < end and p[0] != c';':
                p += 1
            continue
        p += 2
        zero = True
        while p < end and p[0] != c';' and not is_blank(p[0]):
            if c'1' <= p[0] <= c'9':
                zero = False
            elif p[0] != c'0' and p[0] != c'.':
                return True
            p += 1
        return zero
    return False


cdef void _read_codings(Slice list, int* accepted, int* refused, bint* others) noexcept nogil:
    """Read one line of Accept-Encoding."""
    cdef const uint8_t* p = list.data
    cdef const uint8_t* end = list.data + list.size
    cdef const uint8_t* start
    cdef const uint8_t* stop
    cdef int coding
    cdef bint refuses
    while p < end:
        if p[0] == c',' or is_blank(p[0]):
            p += 1
            continue
        start = p
        while p < end and pxd_class[p[0]] & PXD_TOKEN:
            p += 1
        stop = p
        while p < end and p[0] != c',':
            p += 1
        refuses = _is_refused(stop, p)
        if stop - start == 1 and start[0] == c'*':
            others[0] = not refuses
            continue
        coding = _coding(start, stop - start)
        if coding > 0 and refuses:
            refused[0] |= coding
        elif coding > 0:
            accepted[0] |= coding


cdef int accepted_encodings(const Head* request) noexcept nogil:
    cdef int accepted = 0, refused = 0
    cdef bint others = False, present = False
    cdef uint32_t i
    if request.first[FIELD_ACCEPT_ENCODING] == 0:
        return -1
    for i in range(<uint32_t>request.first[FIELD_ACCEPT_ENCODING] - 1, request.field_count):
        if request.fields[i].id == FIELD_ACCEPT_ENCODING and not request.fields[i].hop:
            present = True
            _read_codings(field_value(request, i), &accepted, &refused, &others)
    if not present:
        return -1
    if others:
        accepted |= ENCODING_BR | ENCODING_GZIP | ENCODING_ZSTD
    return accepted & ~refused


cdef int write_encodings(int encodings, uint8_t* out) noexcept nogil:
    cdef Writer w
    cdef int i, bit
    cdef const char* name
    w.at, w.end, w.full = out, out + 12, False
    for i in range(3):
        bit = 1 << i
        if not encodings & bit:
            continue
        if w.at > out:
            _put(&w, c',')
        name = "br" if bit == ENCODING_BR else "gzip" if bit == ENCODING_GZIP else "zstd"
        while name[0]:
            _put(&w, <uint8_t>name[0])
            name += 1
    return <int>(w.at - out)


cdef int content_encoding(const Head* answer) noexcept nogil:
    cdef const uint8_t* p
    cdef const uint8_t* end
    cdef const uint8_t* start
    cdef Slice value
    cdef int found = 0, coding
    cdef uint32_t i
    if answer.first[FIELD_CONTENT_ENCODING] == 0:
        return 0
    for i in range(<uint32_t>answer.first[FIELD_CONTENT_ENCODING] - 1, answer.field_count):
        if answer.fields[i].id != FIELD_CONTENT_ENCODING:
            continue
        value = field_value(answer, i)
        p, end = value.data, value.data + value.size
        while p < end:
            if p[0] == c',' or is_blank(p[0]):
                p += 1
                continue
            start = p
            while p < end and p[0] != c',' and not is_blank(p[0]):
                p += 1
            coding = _coding(start, p - start)
            if coding < 0 or (coding > 0 and found > 0):
                return -1
            found |= coding
    return found


# ---- values

cdef void _put_value(Writer* w, Slice value, bint lower) noexcept nogil:
    """One field value without the blanks that mean nothing (RFC 9111 §4.1 lets a cache remove them)."""
    cdef const uint8_t* p = value.data
    cdef const uint8_t* end = value.data + value.size
    cdef bint quoted = False, blank = False, glued = True   # glued: nothing may stand between what was written and what comes
    cdef uint8_t byte
    while p < end:
        byte = p[0]
        p += 1
        if quoted:
            _put(w, byte)
            if byte == c'\\' and p < end:
                _put(w, p[0])
                p += 1
            elif byte == c'"':
                quoted = False
            continue
        if is_blank(byte):
            blank = True
            continue
        if blank and not glued and byte != c',':
            _put(w, c' ')
        blank = False
        glued = byte == c','
        quoted = byte == c'"'
        _put(w, ascii_lower(byte) if lower else byte)


cdef void _put_field(Writer* w, Slice name, const Head* request, bint lower) noexcept nogil:
    """The line of one name."""
    cdef bint present = False
    cdef const Field* field
    cdef uint32_t i
    for i in range(request.field_count):
        field = &request.fields[i]
        if field.hop or not slice_equals_nocase(slice_of(request.base + field.name, field.name_size), name):
            continue
        _put(w, c',' if present else c'=')
        _put_value(w, field_value(request, i), lower)
        present = True
    if not present:
        _put(w, c'-')


cdef void _put_encodings(Writer* w, int encodings) noexcept nogil:
    cdef uint8_t[12] text
    cdef int i, n
    if encodings < 0:
        _put(w, c'-')
        return
    n = write_encodings(encodings, text)
    _put(w, c'=')
    for i in range(n):
        _put(w, text[i])


cdef int vary_text(Slice names, const Head* request, uint8_t* out, size_t cap) noexcept nogil:
    cdef Writer w
    cdef Slice name
    cdef bint first = True
    w.at, w.end, w.full = out, out + cap, False
    while _next_name(&names, &name):
        if not first:
            _put(&w, c'\n')
        first = False
        if name.size == 15 and memcmp(name.data, <const char*>b"accept-encoding", 15) == 0:
            _put_encodings(&w, accepted_encodings(request))
        else:
            _put_field(&w, name, request, name.size == 15 and memcmp(name.data, <const char*>b"accept-language", 15) == 0)
    return VARY_TOO_MUCH if w.full else <int>(w.at - out)


# ---- for tests and tools

cdef object _into_block(bytes head, bytes names, size_t cap):
    """vary_text with names, vary_names without."""
    cdef int n
    cdef Slice slice = bytes_slice(names)
    cdef OwnHead* own = own_head(head, names is None)
    cdef uint8_t* out = <uint8_t*>malloc(cap)
    if out == NULL and cap:
        free(own)
        raise MemoryError
    with nogil:
        n = vary_names(&own.head, out, cap) if slice.data == NULL else vary_text(slice, &own.head, out, cap)
    result = n if n < 0 else <bytes>out[:n]
    free(out)
    free(own)
    return result


def read_vary(bytes answer not None, size_t cap=512) -> bytes | int:
    """vary_names of an answer."""
    return _into_block(answer, None, cap)


def variant_text(bytes names not None, bytes request not None, size_t cap=4096) -> bytes | int:
    """vary_text of a request."""
    return _into_block(request, names, cap)


def read_encodings(bytes request not None) -> bytes | None:
    """accepted_encodings, as write_encodings writes them."""
    cdef OwnHead* own = own_head(request, False)
    cdef int encodings = accepted_encodings(&own.head)
    cdef uint8_t[12] text
    cdef int n = write_encodings(encodings, text) if encodings >= 0 else 0
    free(own)
    return None if encodings < 0 else <bytes>text[:n]


def read_content_encoding(bytes answer not None) -> int:
    """content_encoding of an answer."""
    cdef OwnHead* own = own_head(answer, True)
    cdef int encoding = content_encoding(&own.head)
    free(own)
    return encoding
