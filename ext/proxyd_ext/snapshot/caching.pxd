"""Compiling how a route caches."""
from proxyd_ext.snapshot.compile cimport CompiledCache


cdef class RouteCaching:
    """Of a CacheSpec; ValueError where its key makes no sense. It must outlive the snapshot's routes."""

    cdef CompiledCache* data
    cdef list _keep           # what the compiled form points into
    cdef int _compile_key(self, parts) except -1
