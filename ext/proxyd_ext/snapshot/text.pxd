"""Text of specs that compiled structs point into: it lives as long as the list that keeps it."""
from libc.stdlib cimport calloc
from proxyd_ext.core.slice cimport Slice, slice_of


cdef inline Slice keep_text(list kept, value) except *:
    """A view of bytes, or of text as UTF-8."""
    cdef bytes data = value.encode() if isinstance(value, str) else bytes(value)
    kept.append(data)
    return slice_of(<const unsigned char*><const char*>data, len(data))


cdef inline Slice* keep_texts(list kept, texts) except NULL:
    """One for each, in an array that its owner frees."""
    cdef Slice* out = <Slice*>calloc(len(texts) + 1, sizeof(Slice))
    cdef int i
    if out == NULL:
        raise MemoryError
    for i, text in enumerate(texts):
        out[i] = keep_text(kept, text)
    return out
