"""The Python face of the store (see store.pxd)."""
import struct
import zlib

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from proxyd_ext.cache.arena cimport arena_held, arena_used
from proxyd_ext.cache.chain cimport chain_finish, chain_join, chain_leave, chain_ready, chain_room, chain_wrote
from proxyd_ext.cache.curve cimport CURVE_POINTS, CurvePoint, curve_read
from proxyd_ext.cache.find cimport ObjectNames, store_find, store_names, store_variant, store_vary
from proxyd_ext.cache.freshness cimport Freshness, STORE_COUNT
from proxyd_ext.cache.insert cimport INSERT_RETRY, INSERT_STORED, store_insert, store_insert_beside
from proxyd_ext.cache.key cimport Url, url_read
from proxyd_ext.cache.make cimport ObjectShape, object_new, object_weight
from proxyd_ext.cache.memory cimport (
    KILL_CAPACITY, KILL_FAILED, KILL_PURGED, KILL_RECLAIMED, KILL_REPLACED, KILL_VARIANTS, StoreTotals, store_chain, store_create,
    store_destroy, store_extend, store_largest, store_resize, store_totals,
)
from proxyd_ext.cache.object cimport (
    Base, CHAIN_COMPLETE, ChainReader, FORM_BR, FORM_GZIP, FORM_NONE, FORM_ZSTD, INLINE_MAX, KEY_MAX, OBJECT_COMPRESS,
    OBJECT_MARKER, OBJECT_SHARE, OBJECT_SOFT, TAGS_MAX, TAG_MAX, VARY_MAX, object_body, object_head, object_route, object_url,
    object_variant,
)
from proxyd_ext.cache.pin cimport object_is_found, store_leave, store_release
from proxyd_ext.cache.policy cimport load_u8
from proxyd_ext.cache.purge cimport PURGE_ALL, PURGE_HOST, PURGE_PREFIX, PURGE_TAG, purge_count
from proxyd_ext.cache.reasons cimport REASON_END, REASON_TOO_LARGE, reason_word
from proxyd_ext.cache.sweep cimport find_url, sweep, sweep_key, sweep_url, walk
from proxyd_ext.core.clock cimport Clock, clock_init, clock_read
from proxyd_ext.core.hash cimport hash_bytes, mix64
from proxyd_ext.core.shim cimport fetch_add_i64, load_acquire_int, load_i64
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.http1.path cimport normalize_path

_FORMS = {FORM_NONE: "", FORM_GZIP: "gzip", FORM_BR: "br", FORM_ZSTD: "zstd"}
_KINDS = {"prefix": PURGE_PREFIX, "host": PURGE_HOST, "tag": PURGE_TAG, "all": PURGE_ALL}
_ASIDE = b"\0aside\0"
_MAGIC = b"PXC1"
_BLOB = struct.Struct("<4sHBBqqqqqqIIIHHHHQ")    # see _blob
_FLAGS_KEPT = OBJECT_SHARE | OBJECT_COMPRESS | OBJECT_SOFT


cdef Slice _view(bytes data):
    return slice_of(<const uint8_t*><const char*>data, len(data))


cdef bytes _bytes(Slice s):
    return (<const char*>s.data)[:s.size] if s.size else b""


cdef Clock _now():
    cdef Clock clock
    clock_init(&clock, False)
    clock_read(&clock)
    return clock


cdef str _text(bytes name):
    """A URL or a tag as purges spell it: their texts are UTF-8."""
    return name.decode("utf-8", "replace")


cdef CachedObject stored_object(Object* object, Cache cache):
    cdef CachedObject out = CachedObject.__new__(CachedObject)
    cdef ObjectNames names
    cdef bint found
    cdef size_t at = 0
    cdef int i
    out.object = object
    out._cache = cache
    out.key, out.vary, out._tags = b"", "", ()
    with nogil:
        found = store_names(cache.data, object, &names)
    if found:
        out.key = (<const char*>names.key)[:names.key_size]
        if object.variant:
            out.vary = (<const char*>names.vary)[:names.vary_size].decode("latin-1")
        tags = []
        for i in range(names.tag_count):
            tags.append((<const char*>names.tags + at)[:names.tag_sizes[i]])
            at += names.tag_sizes[i]
        out._tags = tuple(tags)
    return out


@cython.no_gc
cdef class CachedObject:
    """A stored answer, held as it was found whatever becomes of it in the store; but the body of a large one that is not found any more,
    and is being sent to somebody, goes as it is read: then it is no longer complete, and `body` is empty."""

    def __dealloc__(self):
        if self.object != NULL:
            store_release(self._cache.data, self.object)

    @property
    def url(self) -> str:
        return _text(_bytes(object_url(self.object)))

    @property
    def route(self) -> str:
        return _bytes(object_route(self.object)).decode("latin-1")

    @property
    def status(self) -> int:
        return self.object.status

    @property
    def head(self) -> bytes:
        return _bytes(object_head(self.object))

    @property
    def body(self) -> bytes:
        """A copy; of one that is still being filled: what has come."""
        cdef ChainReader reader
        cdef const uint8_t* data
        cdef uint32_t size
        if self.object.flags & OBJECT_MARKER:
            return b""
        if self.object.chain == NULL:
            return (<const char*>object_body(self.object))[:self.object.body_size]
        pieces = []
        memset(&reader, 0, sizeof(reader))
        if not chain_join(self.object.chain, &reader, 0):
            return b""
        size = chain_ready(self.object.chain, &reader, &data)
        while size:
            pieces.append((<const char*>data)[:size])
            reader.offset += size         # not chain_read: who looks at it uses nothing up
            size = chain_ready(self.object.chain, &reader, &data)
        chain_leave(self._cache.data.arena, self.object.chain, &reader)
        return b"".join(pieces)

    @property
    def size(self) -> int:
        return max(0, load_i64(&self.object.body_size))

    @property
    def footprint(self) -> int:
        return object_weight(self.object)

    @property
    def encoding(self) -> str:
        return _FORMS[self.object.encoding]

    @property
    def variant(self) -> bytes:
        return _bytes(object_variant(self.object))

    @property
    def age_s(self) -> float:
        return self.object.fresh.initial_age_s + (_now().now_ms - self.object.response_ms) / 1000

    @property
    def fresh_s(self) -> float:
        return min(0.0, self._left()) if self.soft_purged else self._left()

    def _left(self) -> float:
        return self.object.fresh.lifetime_s - self.age_s

    @property
    def stale_while_revalidate_s(self) -> float:
        return self.object.fresh.stale_while_revalidate_s

    @property
    def stale_if_error_s(self) -> float:
        return self.object.fresh.stale_if_error_s

    @property
    def hits(self) -> int:
        return load_u8(&self.object.node.freq)

    @property
    def tags(self) -> list[str]:
        return [_text(tag) for tag in self._tags]

    @property
    def reason(self) -> str:
        return (<bytes>reason_word(self.object.reason)).decode() if self.object.flags & OBJECT_MARKER else ""

    @property
    def state(self) -> str:
        if self.object.flags & OBJECT_MARKER:
            return "marker"
        if self.object.chain != NULL and (load_acquire_int(&self.object.chain.state) != CHAIN_COMPLETE or self.object.chain.dropped):
            return "filling"          # or it broke off, or was too large to be kept: it never becomes complete
        return "complete"

    @property
    def soft_purged(self) -> bool:
        return (self.object.flags & OBJECT_SOFT) != 0

    @property
    def etag(self) -> str:
        return _bytes(slice_of(object_head(self.object).data + self.object.etag_at, self.object.etag_size)).decode("latin-1")

    @property
    def compress(self) -> bool:
        return (self.object.flags & OBJECT_COMPRESS) != 0

    @property
    def share(self) -> bool:
        return (self.object.flags & OBJECT_SHARE) != 0

    def blob(self) -> bytes:
        """Everything that `Cache.load` needs to have it again, here or elsewhere, with a checksum; times are wall clock.

        ValueError: it is a marker, a form that we made, is not whole, or nobody finds it any more."""
        if self.state != "complete" or self.object.encoding != FORM_NONE or not self.key:
            raise ValueError(f"nothing to keep: {self.state}, {self.encoding or 'plain'}")
        cdef Object* o = self.object
        cdef Freshness* f = &o.fresh
        lifetime = min(f.lifetime_s, int(self.age_s)) if self.soft_purged else f.lifetime_s
        url, route, vary = _bytes(object_url(self.object)), self.route.encode("latin-1"), self.vary.encode()
        variant, head, body = self.variant, self.head, self.body
        if len(body) != self.size:
            raise ValueError("nothing to keep: it has gone meanwhile")
        if not object_is_found(self.object):
            raise ValueError("nothing to keep: it has gone from the store meanwhile, perhaps by a purge")
        tags = b"\n".join(self._tags)
        if len(tags) > 0xFFFF:
            raise ValueError("nothing to keep: its tags have more than 65,535 bytes")
        bits = f.no_cache | f.must_revalidate << 1 | f.explicit << 2 | f.no_transform << 3
        fixed = _BLOB.pack(_MAGIC, o.status, o.flags & _FLAGS_KEPT, bits, o.response_s, lifetime, f.initial_age_s,
                           f.stale_while_revalidate_s, f.stale_if_error_s, o.last_modified_s, len(self.key), len(variant), len(head),
                           len(url), len(route), len(vary), len(tags), len(body))
        data = b"".join((fixed, self.key, variant, head, url, route, vary, tags, body))
        return data + struct.pack("<I", zlib.crc32(data))


ctypedef struct Parts:        # of an object to be made
    Slice key
    Slice url
    Slice route
    Slice names
    Slice variant
    Slice head
    Slice body
    uint16_t status
    uint8_t encoding
    uint32_t flags
    int64_t response_ms
    int64_t response_s
    int64_t last_modified_s
    int64_t epoch
    Freshness fresh


cdef Object* _make(StoreData* store, const Parts* parts, uint64_t hash, Slice* tags, int tag_count) noexcept nogil:
    """An object that nobody finds yet, with its whole body. NULL: no room."""
    cdef ObjectShape shape
    cdef Object* object
    cdef uint8_t* room
    cdef uint32_t part
    cdef size_t at = 0
    memset(&shape, 0, sizeof(shape))
    shape.url = parts.url
    shape.route = parts.route
    shape.variant = parts.variant
    shape.head_size = <uint32_t>parts.head.size
    shape.tags = tags
    shape.tag_count = tag_count
    if sizeof(Object) + parts.url.size + parts.route.size + parts.variant.size + parts.head.size + parts.body.size <= INLINE_MAX:
        shape.inline_size = parts.body.size
    object = object_new(store, hash, &shape)
    if object == NULL:
        return NULL
    memcpy(<void*>object_head(object).data, parts.head.data, parts.head.size)
    object.status = parts.status
    object.encoding = parts.encoding
    object.flags = parts.flags
    object.response_ms = parts.response_ms
    object.response_s = object.date_s = parts.response_s
    object.last_modified_s = parts.last_modified_s
    object.epoch = parts.epoch
    object.fresh = parts.fresh
    object.body_size = <int64_t>parts.body.size
    object.variant = _variant(parts)
    _find_fields(object)
    if shape.inline_size or parts.body.size == 0:
        memcpy(object_body(object), parts.body.data, parts.body.size)
        return object
    object.chain = store_chain(store, hash)
    while object.chain != NULL and at < parts.body.size:
        room = chain_room(object.chain, &part)
        if room == NULL:
            if not store_extend(store, object.chain, parts.body.size - at, hash):
                break
            continue
        if part > parts.body.size - at:
            part = <uint32_t>(parts.body.size - at)
        memcpy(room, parts.body.data + at, part)
        chain_wrote(object.chain, part)
        at += part
    if at < parts.body.size:
        store_release(store, object)
        return NULL
    chain_finish(object.chain, CHAIN_COMPLETE)
    object.node.size = object_weight(object)
    return object


cdef void _find_fields(Object* object) noexcept nogil:
    """Where ETag and Content-Type stand in the head."""
    cdef Slice head = object_head(object)
    cdef size_t at = 0, end, start
    while at < head.size:
        end = at
        while end < head.size and head.data[end] != c'\n':
            end += 1
        start = at
        while start < end and head.data[start] != c':':
            start += 1
        if end < 0xFFFF and end > start + 1:
            if start - at == 4 and _is(head.data + at, b"etag", 4):
                object.etag_at, object.etag_size = <uint16_t>(start + 2), <uint16_t>(end - 1 - (start + 2))
            elif start - at == 12 and _is(head.data + at, b"content-type", 12):
                object.type_at, object.type_size = <uint16_t>(start + 2), <uint16_t>(end - 1 - (start + 2))
        at = end + 1


cdef bint _is(const uint8_t* data, const char* lower, size_t size) noexcept nogil:
    cdef size_t i
    for i in range(size):
        if (data[i] | 0x20 if c'A' <= data[i] <= c'Z' else data[i]) != lower[i]:
            return False
    return True


cdef inline uint64_t _variant(const Parts* parts) noexcept nogil:
    cdef uint64_t hash
    if parts.variant.size == 0 and parts.names.size == 0:
        return 0
    hash = mix64(hash_bytes(parts.names.data, parts.names.size)) ^ hash_bytes(parts.variant.data, parts.variant.size)
    return hash if hash else 1


cdef bint _insert(StoreData* store, const Parts* parts, Slice* tags, int tag_count, bint unless_newer) noexcept nogil:
    """Make an object and hang it in. False: no room, purged meanwhile, or (unless_newer) a newer one is there."""
    cdef uint64_t hash = hash_bytes(parts.key.data, parts.key.size)
    cdef uint8_t[VARY_MAX] known
    cdef uint8_t[VARY_MAX] vary
    cdef uint8_t[1] order
    cdef uint32_t version, size
    cdef Base* base
    cdef Object* object
    cdef Object* other
    cdef int result = INSERT_RETRY, _tries
    order[0] = FORM_NONE
    other = store_find(store, hash, parts.key.data, <uint32_t>parts.key.size, order, &base, &version, vary, &size)
    if base == NULL:
        return False
    if other == NULL and parts.names.size:
        other = store_variant(store, base, _variant(parts), order, &version)
    if other != NULL:
        if unless_newer and other.response_s >= parts.response_s:
            result = INSERT_STORED + 99
        store_release(store, other)
    for _tries in range(8):
        if result != INSERT_RETRY:
            break
        object = _make(store, parts, hash, tags, tag_count)
        if object == NULL:
            break
        size = store_vary(store, base, known)
        if size and (size != parts.names.size or memcmp(known, parts.names.data, size) != 0):
            store_release(store, object)     # what is here varies by something else, and is newer
            break
        result = store_insert(store, base, object, slice_of(known, size), parts.names, 32)
        store_release(store, object)
    store_leave(store, base)
    return result == INSERT_STORED


cdef class Cache:
    """The cache of a process: objects in memory, shared by all engines. Thread-safe. `size` in bytes holds everything, fragmentation too.
    shards: a power of two up to 64; 0: by the size."""

    def __cinit__(self, uint64_t size, *, int shards=0):
        if shards == 0:
            shards = _shards(size)
        if size < 4 << 20:
            raise ValueError("a cache has at least 4 MiB")
        if not 1 <= shards <= 64 or shards & (shards - 1):
            raise ValueError("the number of shards is a power of two up to 64")
        self.data = store_create(size, shards)
        if self.data == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.data != NULL:
            store_destroy(self.data)

    def resize(self, uint64_t size) -> None:
        if size < 4 << 20:
            raise ValueError("a cache has at least 4 MiB")
        with nogil:
            store_resize(self.data, size)

    def stats(self) -> dict[str, int]:
        cdef StoreData* s = self.data
        cdef StoreTotals totals
        with nogil:
            store_totals(s, &totals)
        killed = [load_i64(&s.counts.killed[k]) for k in range(6)]
        return {
            "objects": totals.objects, "markers": totals.markers, "bases": totals.bases, "tags": totals.tags,
            "bytes": arena_used(s.arena), "held_bytes": arena_held(s.arena) + totals.overhead, "limit_bytes": s.size,
            "inserted": load_i64(&s.counts.inserted), "evictions_capacity": killed[KILL_CAPACITY],
            "evictions_replaced": killed[KILL_REPLACED], "evictions_purged": killed[KILL_PURGED],
            "evictions_reclaimed": killed[KILL_RECLAIMED], "evictions_failed": killed[KILL_FAILED],
            "evictions_variants": killed[KILL_VARIANTS], "refused_too_large": load_i64(&s.counts.too_large),
            "refused_no_room": load_i64(&s.counts.no_room), "purges_url": load_i64(&s.counts.purges[0]),
            "purges_prefix": load_i64(&s.counts.purges[1]), "purges_host": load_i64(&s.counts.purges[2]),
            "purges_tag": load_i64(&s.counts.purges[3]), "purges_all": load_i64(&s.counts.purges[4]),
            "purged_objects": load_i64(&s.counts.purged), "collapsed": load_i64(&s.counts.collapsed),
            "handed_over": load_i64(&s.counts.handed_over), "late_fills": load_i64(&s.counts.late),
        }

    def curve(self) -> list[tuple[int, int, int]]:
        """The live miss-ratio curve: (size of a cache in bytes, requests, hits that it would have had)."""
        cdef CurvePoint[CURVE_POINTS] points
        cdef int i, count
        with nogil:
            count = curve_read(self.data.curve, load_i64(&self.data.counts.lookups), points)
        return [(points[i].size, points[i].requests, points[i].hits) for i in range(count)]

    cdef Url _url(self, bytes text, uint8_t* scratch, uint8_t* path) except *:
        cdef Url url
        cdef int size
        if len(text) > KEY_MAX:
            raise ValueError("the URL is too long")
        if not url_read(_view(text), &url, scratch):
            raise ValueError(f"not a URL: {text.decode(errors='replace')} (scheme://host[:port]/path)")
        size = normalize_path(url.path, path, 3 * KEY_MAX)
        if size < 0:
            raise ValueError(f"not a path: {_bytes(url.path).decode(errors='replace')}")
        url.path = slice_of(path, size)
        return url

    def purge(self, str kind, str text="", *, bint soft=False) -> int:
        """Take out, or (soft) make stale, all that is meant; how many objects. No engine gives them to anybody when this returns.

        url, prefix: scheme://host[:port]/path…, a prefix also without the scheme; host: host[:port];
        url aside:KEY: a value of the cache for applications; tag: one of an answer's tags; all.
        """
        cdef bytes data = text.encode()
        cdef uint8_t[KEY_MAX + 1] scratch
        cdef uint8_t[3 * KEY_MAX] path
        cdef uint8_t[KEY_MAX] key
        cdef Slice what = _view(data)
        cdef Url url
        cdef int64_t count
        cdef int code, number
        if kind == "url" and data.startswith(b"aside:"):
            data = _ASIDE + data[6:]
            what = _view(data)
            number = 0
            with nogil:
                count = sweep_key(self.data, what)
        elif kind == "url":
            url = self._url(data, scratch, path)
            number = 0
            with nogil:
                count = sweep_url(self.data, &url, soft, True, key, KEY_MAX)
        else:
            if kind not in _KINDS:
                raise ValueError(f"no purge by {kind}: url, prefix, host, tag, all")
            if kind != "all" and not data:
                raise ValueError(f"a purge by {kind} needs one")
            if kind == "host":
                data = data.lower()
                what = _view(data)
            code = _KINDS[kind]
            number = ("url", "prefix", "host", "tag", "all").index(kind)
            with nogil:
                count = sweep(self.data, code, what, soft)
        fetch_add_i64(&self.data.counts.purges[number], 1)
        fetch_add_i64(&self.data.counts.purged, count)
        return count

    def find(self, str text not None) -> list[CachedObject]:
        cdef uint8_t[KEY_MAX + 1] scratch
        cdef uint8_t[3 * KEY_MAX] path
        cdef uint8_t[KEY_MAX] key
        cdef Object* found[256]
        cdef bytes data = text.encode()      # the URL is slices of it
        cdef Url url = self._url(data, scratch, path)
        cdef int i, count
        with nogil:
            count = find_url(self.data, &url, found, 256, key, KEY_MAX)
        return [stored_object(found[i], self) for i in range(count)]

    def export(self, int64_t cursor, int most) -> tuple[int, list[CachedObject]]:
        """A walk over everything: begin with 0, go on with what is returned until that is 0. What comes and goes meanwhile may be
        missed."""
        cdef Object* found[256]
        cdef int shard = <int>(cursor >> 40)
        cdef int64_t bucket = cursor & ((<int64_t>1 << 40) - 1)
        cdef int i, count, room = min(max(most, 1), 256)
        if cursor < 0 or shard >= self.data.shard_count:
            raise ValueError("no such cursor")
        with nogil:
            count = walk(self.data, &shard, &bucket, found, room)
        return 0 if shard < 0 else <int64_t>shard << 40 | bucket, [stored_object(found[i], self) for i in range(count)]

    def load(self, bytes blob not None, *, bint restored=False) -> bool:
        """Insert what CachedObject.blob wrote. False: too old by now, no room, or a newer one is there. ValueError: it is no blob.

        restored: it was kept before this store began, so that all purges it has seen may mean it; else those of before are the caller's.
        """
        cdef Parts parts
        cdef Slice[TAGS_MAX] tags
        cdef Clock now = _now()
        cdef int i, tag_count
        cdef bint stored
        if len(blob) < _BLOB.size + 4 or blob[:4] != _MAGIC or zlib.crc32(blob[:-4]) != int.from_bytes(blob[-4:], "little"):
            raise ValueError("not an object of the cache, or a damaged one")
        (_, status, flags, bits, response_s, lifetime, age, revalidate, error, modified, key_size, variant_size, head_size, url_size,
         route_size, vary_size, tags_size, body_size) = _BLOB.unpack_from(blob)
        sizes = (key_size, variant_size, head_size, url_size, route_size, vary_size, tags_size, body_size)
        if sum(sizes) != len(blob) - _BLOB.size - 4 or not 200 <= status <= 599 or vary_size > VARY_MAX or key_size > KEY_MAX:
            raise ValueError("not an object of the cache, or a damaged one")
        key, variant, head, url, route, vary, tag_text, body = _parts(blob, sizes)
        if b"\0" not in key or (head and not head.endswith(b"\r\n")) or b"\r\n\r\n" in head or b"\0" in head or head.startswith(b"\r\n"):
            raise ValueError("not an object of the cache, or a damaged one")
        passed_ms = now.wall_us // 1000 - response_s * 1000
        if passed_ms < -60_000 or passed_ms // 1000 + age > lifetime + max(revalidate, error) or body_size > store_largest(self.data):
            return False
        words = list(dict.fromkeys(word for word in tag_text.split(b"\n") if 0 < len(word) <= TAG_MAX))[:TAGS_MAX]
        tag_count = len(words)
        for i in range(tag_count):
            tags[i] = _view(words[i])
        memset(&parts, 0, sizeof(parts))
        parts.key, parts.url, parts.route, parts.names = _view(key), _view(url), _view(route), _view(vary)
        parts.variant, parts.head, parts.body = _view(variant), _view(head), _view(body)
        parts.status, parts.flags = status, flags & _FLAGS_KEPT
        parts.response_s = response_s
        parts.response_ms = now.now_ms - max(0, passed_ms)
        parts.last_modified_s = modified
        parts.epoch = 0 if restored else purge_count(self.data.purges)
        parts.fresh.lifetime_s, parts.fresh.initial_age_s = lifetime, age
        parts.fresh.stale_while_revalidate_s, parts.fresh.stale_if_error_s = revalidate, error
        parts.fresh.no_cache, parts.fresh.must_revalidate = bits & 1, bits >> 1 & 1
        parts.fresh.explicit, parts.fresh.no_transform = bits >> 2 & 1, bits >> 3 & 1
        with nogil:
            stored = _insert(self.data, &parts, tags, tag_count, True)
        return stored

    def put_encoded(self, CachedObject source not None, str encoding not None, bytes body not None) -> bool:
        """A compressed form beside its source. False: the source has gone or changed meanwhile, or there is no room. ValueError: it is no
        source, or one of another cache."""
        cdef Parts parts
        cdef Slice[TAGS_MAX] tags
        cdef Object* object = source.object
        cdef Object* fresh
        cdef bint stored = False
        cdef int i, count = len(source._tags)
        codes = {name: code for code, name in _FORMS.items() if name}
        if encoding not in codes:
            raise ValueError(f"no encoding {encoding}: gzip, br, zstd")
        if source.encoding or source.object.flags & OBJECT_MARKER:
            raise ValueError(f"no source of a compressed form: {source.encoding or 'marker'}")
        if source._cache is not self:
            raise ValueError("no source of a compressed form: it is of another cache")
        if source.state != "complete":
            return False          # it broke off, or has gone and was given back in parts
        head = _encoded_head(source.head, encoding)
        memset(&parts, 0, sizeof(parts))
        parts.url, parts.route, parts.variant = object_url(object), object_route(object), object_variant(object)
        parts.head, parts.body = _view(head), _view(body)
        parts.status, parts.encoding, parts.flags = object.status, codes[encoding], object.flags & OBJECT_SOFT
        parts.response_ms, parts.response_s, parts.last_modified_s = object.response_ms, object.response_s, object.last_modified_s
        parts.epoch, parts.fresh = object.epoch, object.fresh
        for i in range(count):
            tags[i] = _view(source._tags[i])
        with nogil:
            fresh = _make(self.data, &parts, object.hash, tags, count)
            if fresh != NULL:
                fresh.variant = object.variant
                stored = store_insert_beside(self.data, object, fresh)
                store_release(self.data, fresh)
        return stored

    # ---- for applications: the cache beside their database

    def get(self, str key not None) -> bytes | None:
        cdef bytes text = _ASIDE + key.encode()
        cdef Slice view = _view(text)
        cdef Object* object
        cdef Base* base = NULL
        cdef uint8_t[VARY_MAX] vary
        cdef uint8_t[1] order
        cdef uint32_t version, size
        cdef uint64_t hash
        cdef CachedObject found
        order[0] = FORM_NONE
        with nogil:
            hash = hash_bytes(view.data, view.size)
            object = store_find(self.data, hash, view.data, <uint32_t>view.size, order, &base, &version, vary, &size)
            if base != NULL:
                store_leave(self.data, base)
        if object == NULL:
            return None
        found = stored_object(object, self)
        if found.fresh_s <= 0 or found.state != "complete":
            return None
        return found.body

    def put(self, str key not None, bytes value not None, int64_t ttl_ms, tags=()) -> bool:
        """False: larger than an eighth of the cache, or there is no room."""
        cdef Parts parts
        cdef Slice[TAGS_MAX] views
        cdef bytes text = _ASIDE + key.encode()
        cdef bytes head = b"Content-Type: application/octet-stream\r\n"
        cdef bytes url
        cdef Clock now = _now()
        cdef int i, count
        cdef bint stored
        words = list(dict.fromkeys(tag.encode() for tag in tags))
        if len(words) > TAGS_MAX or any(len(word) > TAG_MAX for word in words):
            raise ValueError(f"a value has at most {TAGS_MAX} tags of {TAG_MAX} bytes")
        if len(text) > KEY_MAX:
            raise ValueError(f"a key has at most {KEY_MAX - len(_ASIDE)} bytes")
        if ttl_ms <= 0:
            raise ValueError("a time to live is above 0")
        if <uint64_t>len(value) > store_largest(self.data):
            fetch_add_i64(&self.data.counts.too_large, 1)
            return False
        count = len(words)
        for i in range(count):
            views[i] = _view(words[i])
        memset(&parts, 0, sizeof(parts))
        parts.key, parts.head, parts.body = _view(text), _view(head), _view(value)
        url = b"aside:" + text[len(_ASIDE):]
        parts.url = _view(url)
        parts.status = 200
        parts.response_ms, parts.response_s, parts.last_modified_s = now.now_ms, now.wall_us // 1000000, -1
        parts.epoch = purge_count(self.data.purges)
        parts.fresh.lifetime_s = max(1, (ttl_ms + 999) // 1000)
        parts.fresh.explicit = True
        with nogil:
            stored = _insert(self.data, &parts, views, count, False)
        return stored

    def delete(self, str key not None) -> bool:
        """Whether there was one."""
        cdef bytes text = _ASIDE + key.encode()
        cdef int64_t count
        cdef Slice view = _view(text)
        with nogil:
            count = sweep_key(self.data, view)
        return count > 0


def _parts(blob: bytes, sizes: tuple[int, ...]) -> list[bytes]:
    at, parts = _BLOB.size, []
    for size in sizes:
        parts.append(blob[at:at + size])
        at += size
    return parts


def blob_names(bytes blob not None) -> tuple[str, list[str]]:
    """URL and tags of what CachedObject.blob wrote, which is not checked. ValueError: it is no blob."""
    if len(blob) < _BLOB.size:
        raise ValueError("not an object of the cache")
    sizes = _BLOB.unpack_from(blob)[10:]
    _, _, _, url, _, _, tags, _ = _parts(blob, sizes)
    return _text(url), [_text(tag) for tag in tags.split(b"\n") if tag]


def _shards(size: int) -> int:
    """As many as keep engines out of each other's way, but none so small that a few large objects are all that it holds: shards of 50
    objects
    in all 16 cost 8 points of hit ratio (bench/hit_ratios.py)."""
    for shards in (16, 8, 4):
        if size >= shards << 24:
            return shards
    return 2


def _encoded_head(head: bytes, encoding: str) -> bytes:
    """What changes with the coding: a weak ETag, for the bytes are others (RFC 9110 §8.8.3.3), Content-Encoding, Vary."""
    out, vary = [], []
    for line in head.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        lower = name.strip().lower()
        if lower == b"vary":
            vary.append(value.strip())
            continue
        if lower in (b"content-encoding", b"accept-ranges", b"content-md5", b"digest", b"content-digest", b"repr-digest"):
            continue
        if lower == b"etag" and not value.strip().startswith(b"W/"):
            line = b"ETag: W/" + value.strip()
        out.append(line)
    names = b", ".join([*vary, b"Accept-Encoding"]) if b"accept-encoding" not in b",".join(vary).lower() else b", ".join(vary)
    out += [b"Content-Encoding: " + encoding.encode(), b"Vary: " + names]
    return b"\r\n".join(out) + b"\r\n"


def reason_words() -> list[str]:
    """Every word that `CachedObject.reason` of a marker may be."""
    found = [(<bytes>reason_word(reason)).decode() for reason in (*range(STORE_COUNT), *range(REASON_TOO_LARGE, REASON_END))]
    return [word for word in found if word]
