"""SpaceSaving over a fixed number of keys (see sketch.pxd). The search is linear: 1 KiB of hashes, for one request of many."""
from libc.string cimport memcpy
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport fetch_or_int


cdef int _find(const Sketch* sketch, uint64_t hash) noexcept nogil:
    cdef int i
    for i in range(sketch.used):
        if sketch.hash[i] == hash:
            return i
    return -1


cdef int _smallest(const Sketch* sketch) noexcept nogil:
    cdef int i, found = 0
    for i in range(1, sketch.used):
        if sketch.count[i] < sketch.count[found]:
            found = i
    return found


cdef void _age(Sketch* sketch) noexcept nogil:
    cdef int i
    sketch.notes = 0
    for i in range(sketch.used):
        sketch.count[i] >>= 1
        sketch.key[i].refused >>= 1


cdef void sketch_note(Sketch* sketch, uint64_t hash, Slice text, bint refused) noexcept nogil:
    cdef SketchKey* key
    cdef int i
    if fetch_or_int(&sketch.lock, 1):
        return
    i = _find(sketch, hash)
    if i < 0:
        if sketch.used < SKETCH_SIZE:
            i = sketch.used
            sketch.used += 1
            sketch.count[i] = 0
        else:
            i = _smallest(sketch)
        key = &sketch.key[i]
        sketch.hash[i] = hash
        key.refused = 0
        key.size = <int>min(text.size, <size_t>SKETCH_TEXT)
        if key.size > 0:
            memcpy(key.text, text.data, key.size)
    sketch.count[i] += 1
    sketch.key[i].refused += refused
    sketch.notes += 1
    if sketch.notes >= SKETCH_AGE:
        _age(sketch)
    lock_give(&sketch.lock)


cdef void sketch_forget(Sketch* sketch, uint64_t hash) noexcept nogil:
    cdef int i
    lock_take(&sketch.lock)
    if hash == 0:
        sketch.used = 0
        sketch.notes = 0
    else:
        i = _find(sketch, hash)
        if i >= 0:
            sketch.used -= 1
            sketch.hash[i] = sketch.hash[sketch.used]
            sketch.count[i] = sketch.count[sketch.used]
            sketch.key[i] = sketch.key[sketch.used]
    lock_give(&sketch.lock)


cdef void sketch_copy(Sketch* sketch, Sketch* into) noexcept nogil:
    lock_take(&sketch.lock)
    memcpy(into, sketch, sizeof(Sketch))
    lock_give(&sketch.lock)
