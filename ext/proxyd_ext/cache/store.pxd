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
    cdef readonly bytes key


# The pin goes over to the Python object.
cdef CachedObject stored_object(Object* object, Cache cache)
