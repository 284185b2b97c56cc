"""The Python face of the store: what the control plane, and applications, do with the cache."""
from libc.stdint cimport uint8_t
from proxyd_ext.cache.key cimport Url
from proxyd_ext.cache.memory cimport StoreData
from proxyd_ext.cache.object cimport Object


cdef class Cache:
    cdef StoreData* data
    cdef Url _url(self, bytes text, uint8_t* scratch, uint8_t* path) except *


cdef class CachedObject:
    cdef Object* object       # pinned
    cdef Cache _cache
    # As they were when it was found; empty when nobody found it any more by then.
    cdef readonly bytes key
    cdef readonly str vary    # names, canonical; empty: it does not vary
    cdef tuple _tags          # of bytes


# The pin goes over to the Python object.
cdef CachedObject stored_object(Object* object, Cache cache)
