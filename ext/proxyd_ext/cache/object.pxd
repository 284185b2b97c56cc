"""What the cache holds, and how it hangs together.

    shard → base (a key) → objects (answers, one a variant and encoding) → chain (a body that is large, or still arriving) → pieces

A base is found by its key's hash; an object through its base. Everything below stands in the arena. Fields of a base, and of an object what
hangs it into lists, belong to the shard's lock; an object's answer never changes once it can be found; its times may be freshened.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from proxyd_ext.cache.alarm cimport Alarm
from proxyd_ext.cache.freshness cimport Freshness
from proxyd_ext.cache.policy cimport PolicyNode
from proxyd_ext.core.events cimport EventNode
from proxyd_ext.core.slice cimport Slice


cdef enum:
    FORM_NONE = 0         # as the server sent it
    FORM_GZIP = 1         # forms that we made of it
    FORM_BR = 2
    FORM_ZSTD = 3

    OBJECT_MARKER = 1 << 0    # no answer: says that those of its key are not stored, and why
    OBJECT_SOFT = 1 << 1      # softly purged: stale whatever its times say
    OBJECT_SHARE = 1 << 2     # belongs into the second tier, too
    OBJECT_COMPRESS = 1 << 3  # compressed forms may be made of it
    OBJECT_NO_TAGS = 1 << 4   # has no place in a tag's list any more

    CHAIN_FILLING = 0
    CHAIN_COMPLETE = 1
    CHAIN_FAILED = 2          # its source broke off: never complete

    VARY_MAX = 512            # bytes of the Vary names of a key, and
    VARIANT_MAX = 2048        # of a request's values of them; answers with more are not stored
    KEY_MAX = 16384           # bytes of a key; requests with more are not cached
    URL_MAX = 16384
    TAGS_MAX = 64             # tags of one object that count
    TAG_MAX = 1024            # bytes of one; longer ones do not count
    INLINE_MAX = 32768        # bytes of an object, body included, that stand in one slot


cdef struct Piece
cdef struct ChainReader
cdef struct Chain
cdef struct Tag
cdef struct TagLink
cdef struct Object
cdef struct FetchWaiter
cdef struct Fetch
cdef struct Base


cdef struct Piece:            # of a chain; its bytes stand elsewhere, so that those of neighbours are one run
    Piece* next
    uint8_t* data
    uint32_t cap              # bytes it can hold: what was asked of the arena
    uint32_t filled           # released by the writer, acquired by readers
    uint32_t heap             # 1: its bytes and itself are of the heap, not of the arena


cdef struct ChainReader:      # somebody who reads a chain from some place on
    ChainReader* next
    ChainReader* previous
    Piece* piece              # NULL: before the first
    uint32_t offset           # in the piece
    uint64_t at               # in the body
    bint waiting              # for more bytes
    Alarm* alarm


cdef struct Chain:
    int lock
    int refs                  # objects, and the fill
    int owners                # objects that are found by somebody; 0: see passing
    int state                 # CHAIN_*
    int passing               # 1: nobody will find it any more: pieces behind its readers are given back, and it may wait for them
    Piece* first
    Piece* last
    uint64_t filled           # bytes in all, also those given back
    uint64_t dropped          # of these: given back
    uint64_t footprint        # bytes of arena slots
    ChainReader* readers
    Alarm* source             # of who fills it
    bint source_waits         # for its readers (see passing)


cdef struct Tag:              # the text follows
    Tag* next                 # in its bucket
    TagLink* first
    uint64_t hash
    uint32_t size


cdef struct TagLink:          # an object's place in the list of one of its tags
    TagLink* next
    TagLink* previous
    Tag* tag
    Object* object


cdef struct Object:           # url, route, variant, head and, where there is no chain, body follow
    PolicyNode node           # first: a PolicyNode* is an Object*
    int refs                  # 0 until it is complete enough to be looked at; one is the base's
    uint32_t flags            # OBJECT_*
    uint64_t hash             # of its key
    Base* base                # NULL: nobody finds it any more
    Object* next              # of the base, the newest first
    Chain* chain              # NULL: the body stands behind the head
    TagLink* links            # one a tag
    EventNode stored          # tells the control plane of it
    uint32_t asked            # bytes asked of the arena
    uint16_t status
    uint8_t encoding          # FORM_*
    uint8_t reason            # STORE_*, of a marker
    uint16_t tag_count
    uint64_t variant          # hash of its variant text and names; 0: it does not vary
    uint64_t epoch            # of purges, when its fetch began
    int64_t response_ms       # monotonic: when the answer came; younger by Freshness.initial_age_s
    int64_t response_s        # the same, POSIX
    int64_t date_s            # its Date, POSIX
    int64_t last_modified_s   # -1: none
    Freshness fresh
    int64_t body_size         # declared, while it is filled; -1: not known yet
    uint32_t head_size
    uint32_t variant_size
    uint16_t url_size
    uint16_t route_size
    uint16_t etag_at          # in the head; 0: none
    uint16_t etag_size
    uint16_t type_at          # Content-Type in the head; 0: none
    uint16_t type_size


cdef struct FetchWaiter:           # somebody who waits for the outcome of a fetch
    FetchWaiter* next
    FetchWaiter* previous
    Fetch* fetch              # NULL: waits no more
    Fetch* own                # the fetch that becomes its own when it has to lead
    Object* object            # what was stored: pinned for it
    int outcome               # FETCH_*
    int fault                 # of FETCH_FAILED
    Alarm* alarm


cdef enum:
    FETCH_STORED = 1          # `object` answers
    FETCH_PASS = 2            # nothing that answers others: each on its own
    FETCH_LEAD = 3            # the leader has gone: you lead
    FETCH_FAILED = 4          # the servers could not be asked: `fault`


cdef struct Fetch:            # one under way for a base and variant
    Fetch* next
    Fetch* previous
    Base* base                # NULL: not registered
    uint64_t variant
    uint64_t epoch            # of purges, when it began
    FetchWaiter* first
    FetchWaiter* last
    uint32_t waiting
    uint8_t handed            # how often it has been handed over because the leader failed by itself


cdef struct Base:             # the key follows
    Base* next                # in its bucket
    Object* objects
    Fetch* fetches
    uint64_t hash
    int pins                  # of exchanges
    uint32_t version          # grows with each answer that is stored
    uint16_t count            # objects, without markers
    uint16_t zone_size        # bytes of the key in front of its zero byte
    uint32_t key_size
    uint32_t vary_size
    uint8_t* vary             # names, canonical; in the arena; NULL: answers do not vary


cdef inline uint8_t* object_text(const Object* object) noexcept nogil:
    return <uint8_t*>object + sizeof(Object)


cdef inline Slice object_url(const Object* object) noexcept nogil:
    cdef Slice s
    s.data = object_text(object)
    s.size = object.url_size
    return s


cdef inline Slice object_route(const Object* object) noexcept nogil:
    cdef Slice s
    s.data = object_text(object) + object.url_size
    s.size = object.route_size
    return s


cdef inline Slice object_variant(const Object* object) noexcept nogil:
    cdef Slice s
    s.data = object_text(object) + object.url_size + object.route_size
    s.size = object.variant_size
    return s


cdef inline Slice object_head(const Object* object) noexcept nogil:
    """Field lines, each with CRLF."""
    cdef Slice s
    s.data = object_text(object) + object.url_size + object.route_size + object.variant_size
    s.size = object.head_size
    return s


cdef inline uint8_t* object_body(const Object* object) noexcept nogil:
    return object_text(object) + object.url_size + object.route_size + object.variant_size + object.head_size


cdef inline Slice base_key(const Base* base) noexcept nogil:
    cdef Slice s
    s.data = <const uint8_t*>base + sizeof(Base)
    s.size = base.key_size
    return s
