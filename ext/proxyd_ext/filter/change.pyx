"""What a user's filter changes (see change.pxd)."""
import re

from libc.stdint cimport uint8_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy, memset
from proxyd_ext.core.slice cimport Slice, slice_of

from proxyd_ext.http1.lines import OWNED, checked_lines

CHANGE_MAX = 8192         # bytes of field lines, or of names


cdef Slice _put(char** at, bytes text):
    cdef char* start = at[0]
    memcpy(start, <const char*>text, len(text))
    at[0] = start + len(text)
    return slice_of(<const uint8_t*>start, len(text))


cdef FilterChange* new_change(bytes lines, bytes drop, str path, query, int status) except NULL:
    cdef FilterChange* change
    cdef char* at
    cdef bytes path_bytes = path.encode(), query_bytes = (query or "").encode()
    checked_lines(lines)
    if len(lines) > CHANGE_MAX or len(drop) > CHANGE_MAX:
        raise ValueError(f"a filter changes at most {CHANGE_MAX} bytes of fields")
    for name in drop.split(b"\n")[:-1]:
        if name in OWNED or not re.fullmatch(rb"[!#$%&'*+.^_`|~0-9a-z-]+", name):
            raise ValueError(f"the field {name.decode('latin-1')!r} cannot be removed: proxyd writes it itself, or it is no name")
    if drop and not drop.endswith(b"\n"):
        raise ValueError("each name ends with a line feed")
    if path and not re.fullmatch(r"/[!-~]*", path) or "?" in path or "#" in path:
        raise ValueError(f"{path[:80]!r} is no path: it begins with a slash, and other characters than plain ones are %XX")
    if query is not None and (not re.fullmatch(r"[!-~]*", query) or "#" in query):
        raise ValueError(f"{query[:80]!r} is no query")
    if status and not 200 <= status <= 599:
        raise ValueError(f"{status} is no final status")
    change = <FilterChange*>malloc(sizeof(FilterChange) + len(lines) + len(drop) + len(path_bytes) + len(query_bytes))
    if change == NULL:
        raise MemoryError
    memset(change, 0, sizeof(FilterChange))
    at = <char*>(change + 1)
    change.lines = _put(&at, lines)
    change.drop = _put(&at, drop)
    if path:
        change.path = _put(&at, path_bytes)
    if query is not None:
        change.has_query = True
        if query:
            change.query = _put(&at, query_bytes)
    return change
