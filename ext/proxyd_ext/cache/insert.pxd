"""Hanging new objects in as the answers of their bases, in the place of what they replace."""
from libc.stdint cimport uint8_t
from proxyd_ext.cache.memory cimport StoreData
from proxyd_ext.cache.object cimport Base, Object
from proxyd_ext.core.slice cimport Slice


cdef enum:
    INSERT_STORED = 0
    INSERT_RETRY = 1
    INSERT_PURGED = 2
    INSERT_NO_ROOM = 3


# Hang in an object (see object_new) as the answer of its base and variant; it keeps the caller's pin beside the base's.  `names`: by what
# the answers of the base vary from now on (canonical); `known`: what they varied by when the caller looked (store_vary), and the variant
# was made.  INSERT_RETRY: that has changed: make the variant anew.  INSERT_PURGED: not stored.  `most`: variants of one key.
cdef int store_insert(StoreData* store, Base* base, Object* object, Slice known, Slice names, int most) noexcept nogil
# A compressed form beside its source, which must still stand.
cdef bint store_insert_beside(StoreData* store, Object* source, Object* object) noexcept nogil
# The body is whole, or broke off: from now on it may be evicted, or is no longer found.
cdef void store_filled(StoreData* store, Object* object, bint whole) noexcept nogil
# Both lists of names (canonical: lower case, sorted, each once, commas between) as one; its size, or -1: more than cap.
cdef int vary_union(Slice a, Slice b, uint8_t* out, size_t cap) noexcept nogil
