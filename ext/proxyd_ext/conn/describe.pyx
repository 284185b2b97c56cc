"""What an object is told, and who is told of it (see describe.pxd)."""
from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcmp
from proxyd_ext.cache.dates cimport parse_http_date
from proxyd_ext.cache.fetch cimport store_resolve
from proxyd_ext.cache.key cimport Url, url_write
from proxyd_ext.cache.object cimport (
    FETCH_PASS, FETCH_STORED, FORM_NONE, OBJECT_COMPRESS, OBJECT_SHARE, TAGS_MAX, TAG_MAX, URL_MAX, object_head,
)
from proxyd_ext.conn.cached cimport cached_url, context_wall_s
from proxyd_ext.core.events cimport EVENT_STORED, event_push
from proxyd_ext.core.shim cimport fetch_add_int
from proxyd_ext.core.slice cimport slice_empty, slice_of
from proxyd_ext.http1.fields cimport field_from_last


# ---- what it is told ----

cdef Slice cached_url_text(CacheUse* use) noexcept nogil:
    cdef Url url = cached_url(use.exchange, use)
    cdef int size = url_write(&url, use.context.key, URL_MAX)
    return slice_of(use.context.key, size if size > 0 else 0)


cdef int cached_tags(const CacheUse* use, const Head* head, Slice* out) noexcept nogil:
    """The words of the fields that carry tags; at most TAGS_MAX."""
    cdef Slice value
    cdef int f, n, count = 0
    cdef size_t i, start
    for f in range(use.rules.tag_count):
        n = 0
        value = field_from_last(head, use.rules.tags[f], n)
        while value.data != NULL:
            i = 0
            while i < value.size:
                while i < value.size and (value.data[i] == c' ' or value.data[i] == c',' or value.data[i] == c'\t'):
                    i += 1
                start = i
                while i < value.size and value.data[i] != c' ' and value.data[i] != c',' and value.data[i] != c'\t':
                    i += 1
                if i > start and i - start <= TAG_MAX:
                    if count == TAGS_MAX:
                        return -1
                    if not _among(out, count, slice_of(value.data + start, i - start)):
                        out[count] = slice_of(value.data + start, i - start)
                        count += 1
            n += 1
            value = field_from_last(head, use.rules.tags[f], n)
    return count


cdef bint _among(const Slice* tags, int count, Slice tag) noexcept nogil:
    cdef int i
    for i in range(count):
        if tags[i].size == tag.size and memcmp(tags[i].data, tag.data, tag.size) == 0:
            return True
    return False


cdef void cached_stamp(CacheUse* use, Object* object, const Freshness* fresh, uint16_t status) noexcept nogil:
    object.status = status
    object.variant = use.variant
    object.epoch = use.fetch.epoch
    object.response_ms = use.context.clock.now_ms
    object.response_s = context_wall_s(use.context)
    object.fresh = fresh[0]
    if use.rules.share:
        object.flags |= OBJECT_SHARE
    if use.rules.encodings[0] != FORM_NONE and not fresh.no_transform:
        object.flags |= OBJECT_COMPRESS


cdef void cached_describe(CacheUse* use, Object* object, const Head* head) noexcept nogil:
    """What of the answer is asked again and again."""
    cdef Slice etag = object_field(object, b"etag", 4)
    cdef Slice kind = object_field(object, b"content-type", 12)
    cdef Slice modified = object_field(object, b"last-modified", 13)
    cdef Slice lines = object_head(object)
    if etag.size and etag.size < 0xFFFF and etag.data - lines.data < 0xFFFF:
        object.etag_at = <uint16_t>(etag.data - lines.data)
        object.etag_size = <uint16_t>etag.size
    if kind.size and kind.data - lines.data < 0xFFFF:
        object.type_at = <uint16_t>(kind.data - lines.data)
        object.type_size = <uint16_t>kind.size
    if modified.size:
        object.last_modified_s = parse_http_date(modified, object.response_s)
    object.date_s = parse_http_date(object_field(object, b"date", 4), object.response_s)
    if object.date_s < 0:
        object.date_s = object.response_s


cdef Slice object_etag(const Object* object) noexcept nogil:
    cdef Slice s = slice_empty()
    if object.etag_size:
        s = slice_of(object_head(object).data + object.etag_at, object.etag_size)
    return s


cdef Slice object_field(const Object* object, const char* name, size_t size) noexcept nogil:
    """The value of the first line with that name (lower case)."""
    cdef Slice lines = object_head(object)
    cdef const uint8_t* end
    cdef size_t i, length
    while lines.size:
        end = <const uint8_t*>memchr(lines.data, c'\n', lines.size)
        length = end + 1 - lines.data if end != NULL else lines.size
        if length > size + 3 and lines.data[size] == c':':
            for i in range(size):
                if lines.data[i] | 0x20 != name[i] and lines.data[i] != name[i]:
                    break
            else:
                i = size + 1
                while i < length - 2 and lines.data[i] == c' ':
                    i += 1
                return slice_of(lines.data + i, length - 2 - i)
        lines = slice_of(lines.data + length, lines.size - length)
    return slice_empty()


# ---- who is told of it ----

cdef void cached_share(CacheUse* use, bint with_others) noexcept nogil:
    store_resolve(use.rules.store, &use.fetch, FETCH_STORED if with_others else FETCH_PASS, use.object, 0)


cdef void cached_tell(Context* context, Object* object) noexcept nogil:
    """Tell the control plane of an answer that is stored and whole, if it has something to do with it."""
    if object.flags & (OBJECT_SHARE | OBJECT_COMPRESS) == 0 or object.base == NULL:
        return
    fetch_add_int(&object.refs, 1)           # until it has been told
    object.stored.kind = EVENT_STORED
    object.stored.subject = object
    if not event_push(context.events, &object.stored):
        fetch_add_int(&object.refs, -1)
