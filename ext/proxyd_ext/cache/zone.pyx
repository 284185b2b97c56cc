"""Zones (see zone.pxd)."""
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy
from proxyd_ext.cache.key cimport KeyPart
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport store_release_ptr
from proxyd_ext.core.slice cimport slice_of


cdef bint _same_recipe(const KeyRecipe* a, const KeyRecipe* b) noexcept nogil:
    cdef int i, k
    if a.count != b.count:
        return False
    for i in range(a.count):
        if a.parts[i].kind != b.parts[i].kind or a.parts[i].name_count != b.parts[i].name_count:
            return False
        for k in range(a.parts[i].name_count):
            if (a.parts[i].names[k].size != b.parts[i].names[k].size
                    or memcmp(a.parts[i].names[k].data, b.parts[i].names[k].data, a.parts[i].names[k].size) != 0):
                return False
    return True


cdef Slice _copy(Slice s) noexcept nogil:
    cdef uint8_t* copy = <uint8_t*>malloc(s.size + 1)
    if copy == NULL:
        return slice_of(NULL, 0)
    memcpy(copy, s.data, s.size)
    return slice_of(copy, s.size)


cdef void store_learn(StoreData* store, Slice name, const KeyRecipe* recipe) noexcept nogil:
    cdef Zone* zone
    cdef int i, k
    lock_take(&store.zone_lock)
    zone = store.zones
    while zone != NULL:
        if zone.name.size == name.size and memcmp(zone.name.data, name.data, name.size) == 0 and _same_recipe(&zone.recipe, recipe):
            break
        zone = zone.next
    if zone == NULL:
        zone = <Zone*>calloc(1, sizeof(Zone))
        if zone != NULL:
            zone.name = _copy(name)
            zone.recipe = recipe[0]
            zone.recipe.parts = <KeyPart*>calloc(recipe.count if recipe.count else 1, sizeof(KeyPart))
            for i in range(recipe.count):
                zone.recipe.parts[i] = recipe.parts[i]
                zone.recipe.parts[i].names = <Slice*>calloc(recipe.parts[i].name_count + 1, sizeof(Slice))
                for k in range(recipe.parts[i].name_count):
                    zone.recipe.parts[i].names[k] = _copy(recipe.parts[i].names[k])
            zone.next = store.zones
            store_release_ptr(<void**>&store.zones, zone)
    lock_give(&store.zone_lock)


cdef void zone_free(Zone* zone) noexcept nogil:
    cdef int i, k
    for i in range(zone.recipe.count):
        for k in range(zone.recipe.parts[i].name_count):
            free(<void*>zone.recipe.parts[i].names[k].data)
        free(zone.recipe.parts[i].names)
    free(zone.recipe.parts)
    free(<void*>zone.name.data)
    free(zone)
