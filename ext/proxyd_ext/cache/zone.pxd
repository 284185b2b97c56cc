"""Zones: the keys by which the routes of all snapshots have stored, for purges and questions by URL. They are learnt, never forgotten."""
from proxyd_ext.cache.key cimport KeyRecipe
from proxyd_ext.cache.memory cimport StoreData, Zone
from proxyd_ext.core.slice cimport Slice


cdef void store_learn(StoreData* store, Slice name, const KeyRecipe* recipe) noexcept nogil
cdef void zone_free(Zone* zone) noexcept nogil
