"""Pins, and what goes with the last of them: objects and bases are held while somebody has one, and taken out of the store under its lock.

Taken out is not gone: nobody finds the object any more, and its memory goes back when the last holder releases it.
"""
from proxyd_ext.cache.memory cimport StoreData
from proxyd_ext.cache.object cimport Base, Object
from proxyd_ext.cache.shard cimport Shard
from proxyd_ext.core.shim cimport fetch_add_int, load_acquire_ptr


cdef inline void store_hold(Object* object) noexcept nogil:
    """For a second holder of an object that is pinned."""
    fetch_add_int(&object.refs, 1)


cdef inline bint object_is_found(Object* object) noexcept nogil:
    """Whether an object that is pinned still stands in the store."""
    return load_acquire_ptr(<void**>&object.base) != NULL


cdef void store_release(StoreData* store, Object* object) noexcept nogil     # unpin an object
cdef void store_leave(StoreData* store, Base* base) noexcept nogil           # unpin a base
# pinned by the caller; nothing happens when it has gone already
cdef void store_kill(StoreData* store, Object* object, int why) noexcept nogil

# For who holds the shard's lock: take an object out, chained to *dead, which store_bury gets after the lock is given back.
cdef void shard_kill(StoreData* store, Shard* shard, Object* object, int why, Object** dead) noexcept nogil
cdef void shard_tidy(StoreData* store, Shard* shard, Base* base) noexcept nogil      # a base that nobody needs any more goes
cdef void store_bury(StoreData* store, Object* dead) noexcept nogil
