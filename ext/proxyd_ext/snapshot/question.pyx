"""Building a Question (see question.pxd): its fields go through the head parser, so that they are read as those of a real request are."""
from libc.stdlib cimport free, malloc
from proxyd_ext.core.address cimport address_parse
from proxyd_ext.core.fault cimport fault_info
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_of
from proxyd_ext.http1.head cimport MAX_FIELDS, HeadLimits, method_of, parse_request_head
from proxyd_ext.http1.path cimport normalize_path

from proxyd_ext.http1.path import merged


cdef class Question:
    """ValueError for what no request could bring: a path, a field or an address that is none."""

    def __cinit__(self, str method not None, str host not None, str path not None, headers, str query not None, str client not None):
        cdef bytes normal = normal_path(path), matched = merged(normal)
        self.path = normal.decode()
        self.keep = [normal, matched]
        self.asked.path = _view(matched)
        self.asked.host = self._slice(host)
        self.asked.method = method_of(self._slice(method))
        self.asked.query = self._slice(query) if query else slice_empty()
        self._read_fields(host, list(headers))
        if client:
            if not address_parse(self._slice(client), &self.address):
                raise ValueError(f"not an IP address: {client}")
            self.asked.client = &self.address

    def __dealloc__(self):
        free(self.head)

    cdef Slice _slice(self, str text):
        cdef bytes data = text.encode()
        self.keep.append(data)
        return _view(data)

    cdef int _read_fields(self, str host, list headers) except -1:
        """Compose a head with these fields and parse it.  `host` is what routes see, also where a Host field says something else."""
        cdef HeadLimits limits
        cdef size_t scanned = 0
        cdef Slice text
        cdef int size
        lines = [f"{name}: {value}" for name, value in headers]
        if host and not any([name.lower() == "host" for name, _ in headers]):
            lines.insert(0, f"Host: [{host}]" if ":" in host else f"Host: {host}")
        text = self._slice("\r\n".join(["GET / HTTP/1.1" if host else "GET / HTTP/1.0", *lines, "", ""]))
        limits.head_size, limits.uri_length, limits.field_count = <unsigned int>text.size, 16, MAX_FIELDS
        self.head = <Head*>malloc(sizeof(Head))
        if self.head == NULL:
            raise MemoryError
        size = parse_request_head(text.data, text.size, &scanned, &limits, self.head)
        if size < 0:
            raise ValueError(f"such a head is refused: {(<bytes>fault_info(-size).sentence).decode()}")
        if <size_t>size != text.size or self.head.field_count != len(lines):
            raise ValueError("a field may hold no line break")
        self.asked.head = self.head
        return 0


cdef Slice _view(bytes data):
    return slice_of(<const unsigned char*><const char*>data, len(data))


def normal_path(path: str) -> bytes:
    cdef bytes raw = path.encode()
    cdef unsigned char* out
    cdef int size
    if raw == b"*":
        return raw
    out = <unsigned char*>malloc(3 * len(raw) + 1)
    if out == NULL:
        raise MemoryError
    try:
        size = normalize_path(_view(raw), out, 3 * len(raw) + 1)
        if size < 0:
            raise ValueError(f"the path {path!r} has a bad escape or points above the root")
        return out[:size]
    finally:
        free(out)
