"""Unsafe methods (see invalidate.pxd)."""
from libc.stdlib cimport malloc
from libc.string cimport memcpy, memset
from proxyd_ext.cache.key cimport Url, url_write
from proxyd_ext.cache.memory cimport StoreData
from proxyd_ext.cache.object cimport KEY_MAX
from proxyd_ext.cache.sweep cimport sweep_reference, sweep_url
from proxyd_ext.conn.cached cimport cached_url
from proxyd_ext.conn.model cimport CacheUse, Context
from proxyd_ext.core.events cimport EVENT_INVALID, event_push
from proxyd_ext.http1.head cimport FIELD_CONTENT_LOCATION, FIELD_LOCATION, head_field


cdef void cached_invalidate(Exchange* exchange, const Head* head) noexcept nogil:
    """RFC 9111 §4.4: the target, and what Location and Content-Location name of the same origin."""
    cdef CacheUse* use = exchange.cached
    cdef StoreData* store = exchange.snapshot.store
    cdef Url url = cached_url(exchange, use)
    if not 200 <= head.status < 400:
        return
    sweep_url(store, &url, False, False, exchange.context.key, KEY_MAX)
    if exchange.snapshot.shares:
        _tell_invalid(exchange.context, &url)
    sweep_reference(store, &url, head_field(head, FIELD_LOCATION), exchange.context.key, KEY_MAX)
    sweep_reference(store, &url, head_field(head, FIELD_CONTENT_LOCATION), exchange.context.key, KEY_MAX)


cdef void _tell_invalid(Context* context, const Url* url) noexcept nogil:
    """The second tier has it as well, and other nodes. Without memory for the word it ends with its lifetime there."""
    cdef InvalidUrl* told
    cdef int size = url_write(url, context.key, KEY_MAX)
    if size < 0:
        return
    told = <InvalidUrl*>malloc(sizeof(InvalidUrl) + size)
    if told == NULL:
        return
    memset(told, 0, sizeof(InvalidUrl))
    told.node.kind = EVENT_INVALID
    told.node.subject = told
    told.size = size
    memcpy(told + 1, context.key, size)
    event_push(context.events, &told.node)
