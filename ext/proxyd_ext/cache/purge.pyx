# cython: cdivision=True
"""Purges (see purge.pxd)."""
from libc.string cimport memchr, memcmp, memcpy
from proxyd_ext.cache.object cimport Tag, object_url
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport load_acquire_i64, store_release_i64
from proxyd_ext.core.slice cimport slice_of


cdef inline bint _begins(Slice s, Slice start) noexcept nogil:
    return s.size >= start.size and memcmp(s.data, start.data, start.size) == 0


cdef Slice _after_scheme(Slice url) noexcept nogil:
    cdef const uint8_t* colon = <const uint8_t*>memchr(url.data, c':', url.size) if url.size else NULL
    if colon == NULL or url.data + url.size - colon < 3:
        return url
    return slice_of(colon + 3, url.data + url.size - colon - 3)


cdef bint _has_tag(const Object* object, Slice text) noexcept nogil:
    cdef const Tag* tag
    cdef int i
    for i in range(object.tag_count):
        tag = object.links[i].tag
        if tag.size == text.size and memcmp(<const uint8_t*>tag + sizeof(Tag), text.data, text.size) == 0:
            return True
    return False


cdef bint purge_means(int kind, Slice text, Slice key, const Object* object) noexcept nogil:
    cdef Slice url
    if kind == PURGE_ALL:
        return True
    if kind == PURGE_KEY:
        return key.size == text.size and memcmp(key.data, text.data, text.size) == 0
    if kind == PURGE_KEY_PREFIX:
        return _begins(key, text)
    if kind == PURGE_TAG:
        return _has_tag(object, text)
    url = object_url(object)
    if kind == PURGE_PREFIX:
        # With or without the scheme.
        return _begins(url, text) or _begins(_after_scheme(url), text)
    url = _after_scheme(url)
    return _begins(url, text) and (url.size == text.size or url.data[text.size] == c'/' or url.data[text.size] == c'?')


cdef void purge_note(PurgeLog* log, int kind, Slice text, bint soft) noexcept nogil:
    cdef PurgeNote* note
    lock_take(&log.lock)
    note = &log.notes[log.count % NOTES]
    note.kind = kind
    note.soft = soft
    note.size = 0
    if text.size > NOTE_TEXT:
        note.kind = PURGE_ALL
    elif text.size:
        note.size = <uint32_t>text.size
        memcpy(note.text, text.data, text.size)
    store_release_i64(&log.count, log.count + 1)
    lock_give(&log.lock)


cdef int64_t purge_count(PurgeLog* log) noexcept nogil:
    return load_acquire_i64(&log.count)


cdef int purged_since(PurgeLog* log, int64_t since, Slice key, const Object* object) noexcept nogil:
    cdef PurgeNote* note
    cdef int64_t n
    cdef int meant = PURGED_NOT
    if purge_count(log) == since:
        return PURGED_NOT
    lock_take(&log.lock)
    if log.count - since > NOTES:
        meant = PURGED_HARD
    else:
        for n in range(since, log.count):
            note = &log.notes[n % NOTES]
            if purge_means(note.kind, slice_of(note.text, note.size), key, object):
                meant = PURGED_SOFT if note.soft else PURGED_HARD
                if meant == PURGED_HARD:
                    break
    lock_give(&log.lock)
    return meant
