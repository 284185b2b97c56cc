"""Cross-origin resource sharing (see cors.pxd). Section numbers are those of the Fetch standard."""
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy
from proxyd_ext.core.slice cimport slice_empty, slice_equals, slice_equals_nocase, slice_of
from proxyd_ext.http1.head cimport MAX_FIELDS, METHOD_OPTIONS, HeadLimits, parse_request_head

cdef const char* ORIGIN = b"origin"
cdef const char* REQUEST_METHOD = b"access-control-request-method"
cdef const char* REQUEST_HEADERS = b"access-control-request-headers"
cdef const char* DROPPED = (
    b"access-control-allow-origin\naccess-control-allow-credentials\naccess-control-expose-headers\naccess-control-allow-methods\n"
    b"access-control-allow-headers\naccess-control-max-age\n"
)

cdef enum:
    ORIGIN_SIZE = 6
    REQUEST_METHOD_SIZE = 29
    REQUEST_HEADERS_SIZE = 30
    DROPPED_SIZE = 172


cdef Slice cors_drop() noexcept nogil:
    return slice_of(<const uint8_t*>DROPPED, DROPPED_SIZE)


cdef struct Asked:
    Slice origin          # data NULL where there is none
    Slice headers         # what the preflight asks for; data NULL where nothing
    int origins           # how many Origin fields: it is one in every honest request
    bint preflight


cdef bint _is_name(const Head* head, int i, const char* name, size_t size) noexcept nogil:
    if head.fields[i].name_size != size:
        return False
    return slice_equals_nocase(slice_of(head.base + head.fields[i].name, size), slice_of(<const uint8_t*>name, size))


cdef void _read(const Head* head, Asked* asked) noexcept nogil:
    cdef int i
    cdef bint method = False
    cdef Slice value
    asked.origin = asked.headers = slice_empty()
    asked.origins = 0
    for i in range(head.field_count):
        value = slice_of(head.base + head.fields[i].value, head.fields[i].value_size)
        if _is_name(head, i, ORIGIN, ORIGIN_SIZE):
            asked.origin = value
            asked.origins += 1
        elif head.method == METHOD_OPTIONS:
            if _is_name(head, i, REQUEST_METHOD, REQUEST_METHOD_SIZE):
                method = True
            elif _is_name(head, i, REQUEST_HEADERS, REQUEST_HEADERS_SIZE):
                asked.headers = value
    asked.preflight = method and asked.origins > 0          # §3.2.2


cdef bint _is_subdomain(const uint8_t* data, size_t size) noexcept nogil:
    """Whether it is one or more labels, in the lower case in which browsers write hosts."""
    cdef size_t i
    cdef uint8_t c, before = c'.'
    for i in range(size):
        c = data[i]
        if c == c'.':
            if before == c'.':
                return False
        elif not (c'a' <= c <= c'z' or c'0' <= c <= c'9' or c == c'-' or c == c'_'):
            return False
        before = c
    return before != c'.'


cdef bint _admits(const CorsRule* rule, Slice origin) noexcept nogil:
    """Whether it is one of ours, byte by byte (§4.10, CORS check)."""
    cdef const CorsOrigin* ours
    cdef size_t fixed
    cdef int i
    for i in range(rule.origin_count):
        ours = &rule.origins[i]
        if not ours.wildcard:
            if slice_equals(ours.text, origin):
                return True
            continue
        fixed = ours.text.size + ours.tail.size
        if origin.size <= fixed or memcmp(origin.data, ours.text.data, ours.text.size) != 0:
            continue
        if memcmp(origin.data + origin.size - ours.tail.size, ours.tail.data, ours.tail.size) != 0:
            continue
        if _is_subdomain(origin.data + ours.text.size, origin.size - fixed):
            return True
    return False


cdef bint _is_list(Slice names) noexcept nogil:
    """Whether it is a list of field names that can be told again: tokens, commas and blanks (RFC 9110 §5.6.1, §5.6.2)."""
    cdef size_t i
    cdef uint8_t c
    for i in range(names.size):
        c = names.data[i]
        if c <= 0x20:
            if c != c' ' and c != c'\t':
                return False
        elif c >= 0x7F or c in b'"()/:;<=>?@[\\]{}':
            return False
    return names.size > 0


cdef void _write(uint8_t* out, uint32_t* size, const char* text, size_t count) noexcept nogil:
    memcpy(out + size[0], text, count)
    size[0] += <uint32_t>count


cdef int cors_ask(const CorsRule* rule, const Head* head, uint8_t* out, uint32_t* size) noexcept nogil:
    cdef Asked asked
    cdef Slice lines
    cdef bint admitted
    _read(head, &asked)
    size[0] = 0
    admitted = rule.any or (asked.origins == 1 and asked.origin.size <= CORS_ORIGIN_MAX and _admits(rule, asked.origin))
    if admitted:
        if rule.any:
            _write(out, size, b"Access-Control-Allow-Origin: *\r\n", 32)
        else:
            _write(out, size, b"Access-Control-Allow-Origin: ", 29)
            _write(out, size, <const char*>asked.origin.data, asked.origin.size)
            _write(out, size, b"\r\n", 2)
        lines = rule.preflight if asked.preflight else rule.lines
        _write(out, size, <const char*>lines.data, lines.size)
        if asked.preflight and rule.echo and asked.headers.size <= CORS_HEADERS_MAX and _is_list(asked.headers):
            _write(out, size, b"Access-Control-Allow-Headers: ", 30)
            _write(out, size, <const char*>asked.headers.data, asked.headers.size)
            _write(out, size, b"\r\n", 2)
    if asked.preflight:
        _write(out, size, b"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n", 77)
        return CORS_PREFLIGHT
    if not rule.any:
        _write(out, size, b"Vary: Origin\r\n", 14)
    return CORS_LINES if admitted else CORS_NONE


cdef class Cors:
    """A compiled CorsFilter."""

    def __cinit__(self, spec):
        cdef int number
        self._keep = []
        self.rule = <CorsRule*>calloc(1, sizeof(CorsRule))
        if self.rule == NULL:
            raise MemoryError
        self.rule.any = "*" in spec.origins
        self.rule.echo = "*" in spec.headers
        if self.rule.any and spec.credentials:
            raise ValueError("credentials go to origins that are named, not to `*`")
        if not self.rule.any:
            self.rule.origins = <CorsOrigin*>calloc(max(len(spec.origins), 1), sizeof(CorsOrigin))
            if self.rule.origins == NULL:
                raise MemoryError
            for number, origin in enumerate(spec.origins):
                self.rule.origins[number] = _origin(self._keep, origin)
            self.rule.origin_count = len(spec.origins)
        common = "Access-Control-Allow-Credentials: true\r\n" if spec.credentials else ""
        lines = common + _line("Access-Control-Expose-Headers", spec.expose, CORS_EXPOSE_MAX)
        preflight = common + _line("Access-Control-Allow-Methods", spec.methods, CORS_METHODS_MAX)
        if not self.rule.echo:
            preflight += _line("Access-Control-Allow-Headers", spec.headers, CORS_HEADERS_MAX)
        if spec.max_age_s >= 0:
            preflight += f"Access-Control-Max-Age: {min(spec.max_age_s, 0x7FFFFFFF)}\r\n"
        self.rule.lines = _kept(self._keep, lines)
        self.rule.preflight = _kept(self._keep, preflight)

    def __dealloc__(self):
        if self.rule != NULL:
            free(self.rule.origins)
            free(self.rule)


cdef Slice _kept(list keep, str text):
    """The text in memory that lives as long as `keep`."""
    cdef bytes written = text.encode("ascii")
    keep.append(written)
    return slice_of(<const uint8_t*><const char*>written, len(written))


cdef CorsOrigin _origin(list keep, str origin):
    cdef CorsOrigin ours
    front, star, tail = _bounded(origin, CORS_ORIGIN_MAX).partition("*")
    ours.wildcard = bool(star)
    ours.text = _kept(keep, front)
    ours.tail = _kept(keep, tail)
    return ours


cdef str _bounded(str text, int longest):
    if len(text) > longest:
        raise ValueError(f"a text for CORS is longer than {longest} bytes: {text[:40]}")
    return text


cdef str _line(str name, object values, int longest):
    text = _bounded(", ".join(values), longest)
    return f"{name}: {text}\r\n" if text else ""


# ---- for tests and tools

def ask(Cors cors not None, bytes head not None) -> tuple[int, bytes]:
    """cors_ask of a request head; ValueError where that is refused."""
    cdef HeadLimits limits
    cdef size_t scanned = 0
    cdef uint32_t size = 0
    cdef int said
    cdef Head* parsed = <Head*>malloc(sizeof(Head))
    cdef uint8_t* out = <uint8_t*>malloc(CORS_LINES_MAX)      # exactly: a sanitizer sees a byte too many
    limits.head_size, limits.uri_length, limits.field_count = 1 << 16, 1 << 16, MAX_FIELDS
    try:
        if parsed == NULL or out == NULL:
            raise MemoryError
        if parse_request_head(<const uint8_t*><const char*>head, len(head), &scanned, &limits, parsed) <= 0:
            raise ValueError("not a request head")
        with nogil:
            said = cors_ask(cors.rule, parsed, out, &size)
        return said, <bytes>out[:size]
    finally:
        free(out)
        free(parsed)


def dropped() -> tuple[str, ...]:
    """The names of cors_drop."""
    cdef Slice names = cors_drop()
    return tuple((<bytes>names.data[:names.size]).decode().splitlines())
