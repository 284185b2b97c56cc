"""Compiling how a route caches."""
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.snapshot.compile cimport CompiledCache


cdef class RouteCaching:
    """Of a CacheSpec; ValueError where its key makes no sense. It must outlive the snapshot's routes."""

    cdef CompiledCache* data
    cdef list _keep           # what the compiled form points into
    cdef Slice _text(self, str text) except *
    cdef Slice* _texts(self, texts) except NULL
    cdef int _compile_key(self, parts) except -1
