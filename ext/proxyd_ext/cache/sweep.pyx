# cython: cdivision=True
"""Sweeps over the store (see sweep.pxd)."""
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy
from proxyd_ext.cache.key cimport key_write, url_read
from proxyd_ext.cache.memory cimport KILL_PURGED, Zone, store_shard
from proxyd_ext.cache.object cimport OBJECT_MARKER, OBJECT_SOFT, Base, Tag, TagLink, base_key
from proxyd_ext.cache.pin cimport shard_kill, shard_tidy, store_bury
from proxyd_ext.cache.purge cimport PURGE_KEY, PURGE_KEY_PREFIX, PURGE_TAG, purge_means, purge_note
from proxyd_ext.cache.shard cimport Shard, shard_base, shard_bucket, shard_buckets, shard_freeze, shard_tag, shard_thaw
from proxyd_ext.core.hash cimport hash_bytes
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport fetch_add_int, fetch_or_int, load_acquire_ptr
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.http1.path cimport normalize_path

cdef enum:
    BUCKETS_AT_ONCE = 512     # looked at between giving the lock and taking it again
    KILLS_AT_ONCE = 4096
    NOTE_NOT = 0
    NOTE_FETCHES = 1
    NOTE_ALWAYS = 2
    SKIP_BITS = 12            # of a walk's place: objects of the bucket that it has been given already
    SKIP_MOST = (1 << 12) - 1


ctypedef struct Finding:
    # What becomes of the objects that are found.
    bint pins                 # into `out`
    bint soft
    Object** out
    int most
    int64_t count             # found, without markers
    Object* dead              # taken out, for store_bury


cdef void _found(StoreData* store, Shard* shard, Object* object, Finding* finding) noexcept nogil:
    if finding.pins:
        if finding.count < finding.most:
            fetch_add_int(&object.refs, 1)
            finding.out[finding.count] = object
            finding.count += 1
        return
    if not object.flags & OBJECT_MARKER:
        finding.count += 1
    if finding.soft:
        fetch_or_int(<int*>&object.flags, OBJECT_SOFT)
    else:
        shard_kill(store, shard, object, KILL_PURGED, &finding.dead)


cdef void _bury(StoreData* store, Finding* finding) noexcept nogil:
    store_bury(store, finding.dead)
    finding.dead = NULL


cdef void _of_base(StoreData* store, Shard* shard, Base* base, int kind, Slice text, Finding* finding) noexcept nogil:
    """The objects of a base that are meant. It goes with the last of them."""
    cdef Object* object = base.objects
    cdef Object* following
    base.pins += 1
    while object != NULL:
        following = object.next
        if purge_means(kind, text, base_key(base), object):
            _found(store, shard, object, finding)
        object = following
    base.pins -= 1
    shard_tidy(store, shard, base)


cdef void _key(StoreData* store, Slice key, Finding* finding, int note) noexcept nogil:
    """Who fetches for a key has its base pinned, so that without a base, or without pins, there is nobody to be told of what a method made
    invalid: each POST that succeeds comes here, and notes are few."""
    cdef uint64_t hash = hash_bytes(key.data, key.size)
    cdef Shard* shard = store_shard(store, hash)
    cdef Base* base
    if note == NOTE_ALWAYS:
        purge_note(store.purges, PURGE_KEY, key, finding.soft)
    lock_take(&shard.lock)
    base = shard_base(shard, hash, key.data, <unsigned int>key.size)
    if base != NULL:
        if note == NOTE_FETCHES and base.pins > 0:
            purge_note(store.purges, PURGE_KEY, key, finding.soft)
        _of_base(store, shard, base, PURGE_KEY, key, finding)
    lock_give(&shard.lock)
    _bury(store, finding)


cdef void _tag(StoreData* store, Slice text, Finding* finding) noexcept nogil:
    """Only what carries the tag is looked at."""
    cdef uint64_t hash = hash_bytes(text.data, text.size)
    cdef Shard* shard
    cdef Tag* tag
    cdef TagLink* link
    cdef TagLink* following
    cdef int i, killed
    cdef bint more
    for i in range(store.shard_count):
        shard = &store.shards[i]
        more = True
        while more:
            more = False
            killed = 0
            lock_take(&shard.lock)
            tag = shard_tag(shard, hash, text.data, <unsigned int>text.size)
            link = tag.first if tag != NULL else NULL
            while link != NULL:
                following = link.next         # the tag goes with its last link, and is not looked at again then
                _found(store, shard, link.object, finding)
                link = following
                killed += 1
                if killed == KILLS_AT_ONCE and not finding.soft and link != NULL:
                    more = True
                    break
            lock_give(&shard.lock)
            _bury(store, finding)


cdef void _walk(StoreData* store, int kind, Slice text, Finding* finding) noexcept nogil:
    cdef Shard* shard
    cdef Base* base
    cdef Base* following
    cdef uint64_t n, buckets
    cdef int i, _k
    for i in range(store.shard_count):
        shard = &store.shards[i]
        lock_take(&shard.lock)
        while not shard_freeze(shard):
            lock_give(&shard.lock)
            lock_take(&shard.lock)
        buckets = shard_buckets(shard)
        n = 0
        while n < buckets:
            for _k in range(BUCKETS_AT_ONCE):
                if n == buckets:
                    break
                base = shard_bucket(shard, n)
                while base != NULL:
                    following = base.next
                    _of_base(store, shard, base, kind, text, finding)
                    base = following
                n += 1
            if n < buckets:
                lock_give(&shard.lock)
                _bury(store, finding)
                lock_take(&shard.lock)
        shard_thaw(shard)
        lock_give(&shard.lock)
        _bury(store, finding)


cdef int64_t sweep(StoreData* store, int kind, Slice text, bint soft) noexcept nogil:
    cdef Finding finding
    finding.pins = False
    finding.soft = soft
    finding.count = 0
    finding.dead = NULL
    purge_note(store.purges, kind, text, soft)
    if kind == PURGE_TAG:
        _tag(store, text, &finding)
    else:
        _walk(store, kind, text, &finding)
    return finding.count


cdef void _url(StoreData* store, const Url* url, Finding* finding, int note, uint8_t* scratch, size_t room) noexcept nogil:
    cdef Zone* zone = <Zone*>load_acquire_ptr(<void**>&store.zones)
    cdef Slice key
    cdef int size
    while zone != NULL:
        size = key_write(&zone.recipe, zone.name, url, NULL, scratch, room)
        if size >= 0:
            key = slice_of(scratch, size)
            if zone.recipe.url_count == zone.recipe.count:
                _key(store, key, finding, note)
            else:
                # The rest of the key is not in the URL: all that begin with what is.
                if note:
                    purge_note(store.purges, PURGE_KEY_PREFIX, key, finding.soft)
                _walk(store, PURGE_KEY_PREFIX, key, finding)
        zone = zone.next


cdef int64_t sweep_url(StoreData* store, const Url* url, bint soft, bint order, uint8_t* scratch, size_t size) noexcept nogil:
    cdef Finding finding
    finding.pins = False
    finding.soft = soft
    finding.count = 0
    finding.dead = NULL
    _url(store, url, &finding, NOTE_ALWAYS if order else NOTE_FETCHES, scratch, size)
    return finding.count


cdef int64_t sweep_reference(StoreData* store, const Url* url, Slice reference, uint8_t* scratch, size_t size) noexcept nogil:
    cdef Url named
    cdef Slice text
    cdef uint8_t* rest = scratch
    cdef size_t used
    cdef int normal
    if reference.size == 0 or reference.size + url.authority.size + url.path.size + 16 > size // 8:
        return 0
    text = _resolved(url, reference, scratch)
    used = text.size
    if not url_read(text, &named, scratch + used) or not _same(named.scheme, url.scheme) or not _same(named.authority, url.authority):
        return 0
    used += text.size + 1
    normal = normalize_path(named.path, scratch + used, size // 4)
    if normal < 0:
        return 0
    named.path = slice_of(scratch + used, normal)
    used += normal
    return sweep_url(store, &named, False, False, rest + used, size - used)


cdef void _append(uint8_t** at, Slice s) noexcept nogil:
    memcpy(at[0], s.data, s.size)
    at[0] += s.size


cdef Slice _resolved(const Url* url, Slice reference, uint8_t* out) noexcept nogil:
    """A reference as a whole URL (RFC 3986 §5.2); dot segments stay for whoever normalises the path."""
    cdef uint8_t* at = out
    cdef size_t i
    for i in range(reference.size):
        if reference.data[i] == c':':
            return reference             # it has a scheme
        if reference.data[i] == c'/' or reference.data[i] == c'?' or reference.data[i] == c'#':
            break
    _append(&at, url.scheme)
    if reference.size > 1 and reference.data[0] == c'/' and reference.data[1] == c'/':
        at[0] = c':'
        at += 1
    else:
        _append(&at, slice_of(<const uint8_t*>b"://", 3))
        _append(&at, url.authority)
        if reference.data[0] != c'/':
            i = url.path.size
            if reference.data[0] != c'?':
                while i > 0 and url.path.data[i - 1] != c'/':
                    i -= 1
            _append(&at, slice_of(url.path.data, i))
    _append(&at, reference)
    return slice_of(out, at - out)


cdef inline bint _same(Slice a, Slice b) noexcept nogil:
    return a.size == b.size and memcmp(a.data, b.data, a.size) == 0


cdef int find_url(StoreData* store, const Url* url, Object** out, int most, uint8_t* scratch, size_t size) noexcept nogil:
    cdef Finding finding
    finding.pins = True
    finding.soft = False
    finding.count = 0
    finding.dead = NULL
    finding.out = out
    finding.most = most
    _url(store, url, &finding, NOTE_NOT, scratch, size)
    return <int>finding.count


cdef int walk(StoreData* store, int* at, int64_t* place, Object** out, int most) noexcept nogil:
    cdef Shard* shard
    cdef int count = 0
    while at[0] < store.shard_count:
        shard = &store.shards[at[0]]
        lock_take(&shard.lock)
        while count < most and <uint64_t>(place[0] >> SKIP_BITS) < shard_buckets(shard):
            count = _walk_bucket(shard, place, out, count, most)
        if <uint64_t>(place[0] >> SKIP_BITS) >= shard_buckets(shard):
            at[0] += 1
            place[0] = 0
        lock_give(&shard.lock)
        if count == most:
            break
    if at[0] == store.shard_count:
        at[0] = -1
    return count


cdef int _walk_bucket(Shard* shard, int64_t* place, Object** out, int count, int most) noexcept nogil:
    """Pin what of the bucket has room; `place` goes on to what is left of it, or to the next."""
    cdef Base* base = shard_bucket(shard, place[0] >> SKIP_BITS)
    cdef Object* object
    cdef int64_t n = 0, skip = place[0] & SKIP_MOST
    while base != NULL:
        object = base.objects
        while object != NULL:
            if n >= skip:
                if count == most and n < SKIP_MOST:
                    place[0] = place[0] - skip + n
                    return count
                if count < most:
                    fetch_add_int(&object.refs, 1)
                    out[count] = object
                    count += 1
            n += 1
            object = object.next
        base = base.next
    place[0] += SKIP_MOST + 1 - skip
    return count


cdef int64_t sweep_key(StoreData* store, Slice key) noexcept nogil:
    cdef Finding finding
    finding.pins = False
    finding.soft = False
    finding.count = 0
    finding.dead = NULL
    _key(store, key, &finding, NOTE_ALWAYS)
    return finding.count
