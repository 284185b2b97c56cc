"""Purges, and finding by URL: what walks over the store.

A purge is noted first and carried out then, shard by shard: what is inserted meanwhile sees the note, what stands already is found. When it
returns, no answer that it meant is given to anybody any more (what is being sent goes on).
"""
from libc.stdint cimport int64_t, uint8_t
from proxyd_ext.cache.key cimport Url
from proxyd_ext.cache.memory cimport StoreData
from proxyd_ext.cache.object cimport Object
from proxyd_ext.core.slice cimport Slice


# kind: PURGE_PREFIX, _HOST, _TAG, _ALL.  soft: what is meant becomes stale, it is not taken out.  Returns how many objects.
cdef int64_t sweep(StoreData* store, int kind, Slice text, bint soft) noexcept nogil
# All answers of a URL, in all zones.  `scratch` takes keys.  `order`: somebody ordered it; else a method has made it invalid, which happens
# often,
# and is noted only where somebody fetches.
cdef int64_t sweep_url(StoreData* store, const Url* url, bint soft, bint order, uint8_t* scratch, size_t size) noexcept nogil
# All answers of one key.
cdef int64_t sweep_key(StoreData* store, Slice key) noexcept nogil
# The same for a reference (of Location) if it is of the same origin as `url`; relative ones are resolved when they begin with '/'.
cdef int64_t sweep_reference(StoreData* store, const Url* url, Slice reference, uint8_t* scratch, size_t size) noexcept nogil
# Pin what answers a URL (markers too); how many were written to `out`.
cdef int find_url(StoreData* store, const Url* url, Object** out, int most, uint8_t* scratch, size_t size) noexcept nogil
# Pin objects on a walk over everything: from *shard, *place on, which move; *shard is -1 at the end.  At most `most`, which is at least 1.
cdef int walk(StoreData* store, int* shard, int64_t* place, Object** out, int most) noexcept nogil
