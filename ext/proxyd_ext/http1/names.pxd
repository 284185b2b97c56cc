"""Known field names and methods: by length first, then one comparison of whole words."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.http1.head cimport (
    FIELD_ACCEPT, FIELD_ACCEPT_ENCODING, FIELD_AGE, FIELD_AUTHORIZATION, FIELD_CACHE_CONTROL, FIELD_CACHE_STATUS, FIELD_CACHE_TAG,
    FIELD_CDN_CACHE_CONTROL, FIELD_CONNECTION, FIELD_CONTENT_ENCODING, FIELD_CONTENT_LENGTH, FIELD_CONTENT_LOCATION, FIELD_CONTENT_RANGE,
    FIELD_CONTENT_TYPE, FIELD_COOKIE, FIELD_DATE, FIELD_ETAG, FIELD_EXPECT, FIELD_EXPIRES, FIELD_FORWARDED, FIELD_HOST, FIELD_IF_MATCH,
    FIELD_IF_MODIFIED_SINCE, FIELD_IF_NONE_MATCH, FIELD_IF_RANGE, FIELD_IF_UNMODIFIED_SINCE, FIELD_KEEP_ALIVE, FIELD_LAST_MODIFIED,
    FIELD_LOCATION, FIELD_OTHER, FIELD_PRAGMA, FIELD_PROXY_AUTHENTICATE, FIELD_PROXY_AUTHORIZATION, FIELD_PROXY_CONNECTION,
    FIELD_PROXY_STATUS, FIELD_RANGE, FIELD_REFERER, FIELD_RETRY_AFTER, FIELD_SEC_WEBSOCKET_KEY, FIELD_SERVER, FIELD_SET_COOKIE,
    FIELD_SURROGATE_KEY, FIELD_TE, FIELD_TRACEPARENT, FIELD_TRACESTATE, FIELD_TRAILER, FIELD_TRANSFER_ENCODING, FIELD_UPGRADE,
    FIELD_USER_AGENT, FIELD_VARY, FIELD_VIA, FIELD_WARNING, FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_HOST, FIELD_X_FORWARDED_PROTO,
    FIELD_X_REAL_IP, FIELD_X_REQUEST_ID, METHOD_CONNECT, METHOD_DELETE, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_OTHER, METHOD_PATCH,
    METHOD_POST, METHOD_PUT, METHOD_TRACE, Head,
)
from proxyd_ext.http1.scan cimport word_is


cdef inline uint64_t field_bit(int id) noexcept nogil:
    """A FIELD_* as a bit of a set of fields (FIELD_COUNT is at most 64)."""
    return (<uint64_t>1) << id


cdef inline Slice field_value(const Head* head, uint32_t i) noexcept nogil:
    """The value of the i-th field."""
    return slice_of(head.base + head.fields[i].value, head.fields[i].value_size)


cdef inline bint is_hop_by_hop(int id) noexcept nogil:
    """Fields of one connection (RFC 9110 §7.6.1) or of the proxy itself (§11.7: credentials for a proxy are consumed by it).

    Trailer is not among them: it announces what we forward.
    """
    return ((field_bit(FIELD_CONNECTION) | field_bit(FIELD_KEEP_ALIVE) | field_bit(FIELD_PROXY_CONNECTION) | field_bit(FIELD_TE)
             | field_bit(FIELD_TRANSFER_ENCODING) | field_bit(FIELD_UPGRADE) | field_bit(FIELD_PROXY_AUTHENTICATE)
             | field_bit(FIELD_PROXY_AUTHORIZATION)) >> id) & 1


cdef inline uint8_t _field_id_13(const uint8_t* p) noexcept nogil:
    """Six known names have 13 letters: their first letter leaves two at most."""
    cdef uint8_t first = p[0] | 0x20
    if first == c'c':
        if word_is(p, "cache-control", 13):
            return FIELD_CACHE_CONTROL
        return FIELD_CONTENT_RANGE if word_is(p, "content-range", 13) else FIELD_OTHER
    elif first == c'a':
        return FIELD_AUTHORIZATION if word_is(p, "authorization", 13) else FIELD_OTHER
    elif first == c'i':
        return FIELD_IF_NONE_MATCH if word_is(p, "if-none-match", 13) else FIELD_OTHER
    elif first == c'l':
        return FIELD_LAST_MODIFIED if word_is(p, "last-modified", 13) else FIELD_OTHER
    elif first == c's':
        return FIELD_SURROGATE_KEY if word_is(p, "surrogate-key", 13) else FIELD_OTHER
    return FIELD_OTHER


cdef inline uint8_t field_id(const uint8_t* p, size_t n) noexcept nogil:
    """FIELD_* of a name that holds token bytes only."""
    if n == 2:
        return FIELD_TE if word_is(p, "te", 2) else FIELD_OTHER
    elif n == 3:
        if word_is(p, "via", 3):
            return FIELD_VIA
        return FIELD_AGE if word_is(p, "age", 3) else FIELD_OTHER
    elif n == 4:
        if word_is(p, "host", 4):
            return FIELD_HOST
        if word_is(p, "date", 4):
            return FIELD_DATE
        if word_is(p, "etag", 4):
            return FIELD_ETAG
        return FIELD_VARY if word_is(p, "vary", 4) else FIELD_OTHER
    elif n == 5:
        return FIELD_RANGE if word_is(p, "range", 5) else FIELD_OTHER
    elif n == 6:
        if word_is(p, "accept", 6):
            return FIELD_ACCEPT
        if word_is(p, "cookie", 6):
            return FIELD_COOKIE
        if word_is(p, "server", 6):
            return FIELD_SERVER
        if word_is(p, "pragma", 6):
            return FIELD_PRAGMA
        return FIELD_EXPECT if word_is(p, "expect", 6) else FIELD_OTHER
    elif n == 7:
        if word_is(p, "referer", 7):
            return FIELD_REFERER
        if word_is(p, "upgrade", 7):
            return FIELD_UPGRADE
        if word_is(p, "expires", 7):
            return FIELD_EXPIRES
        if word_is(p, "warning", 7):
            return FIELD_WARNING
        return FIELD_TRAILER if word_is(p, "trailer", 7) else FIELD_OTHER
    elif n == 8:
        if word_is(p, "location", 8):
            return FIELD_LOCATION
        if word_is(p, "if-range", 8):
            return FIELD_IF_RANGE
        return FIELD_IF_MATCH if word_is(p, "if-match", 8) else FIELD_OTHER
    elif n == 9:
        if word_is(p, "forwarded", 9):
            return FIELD_FORWARDED
        if word_is(p, "cache-tag", 9):
            return FIELD_CACHE_TAG
        return FIELD_X_REAL_IP if word_is(p, "x-real-ip", 9) else FIELD_OTHER
    elif n == 10:
        if word_is(p, "connection", 10):
            return FIELD_CONNECTION
        if word_is(p, "user-agent", 10):
            return FIELD_USER_AGENT
        if word_is(p, "set-cookie", 10):
            return FIELD_SET_COOKIE
        if word_is(p, "tracestate", 10):
            return FIELD_TRACESTATE
        return FIELD_KEEP_ALIVE if word_is(p, "keep-alive", 10) else FIELD_OTHER
    elif n == 11:
        if word_is(p, "traceparent", 11):
            return FIELD_TRACEPARENT
        return FIELD_RETRY_AFTER if word_is(p, "retry-after", 11) else FIELD_OTHER
    elif n == 12:
        if word_is(p, "content-type", 12):
            return FIELD_CONTENT_TYPE
        if word_is(p, "x-request-id", 12):
            return FIELD_X_REQUEST_ID
        if word_is(p, "cache-status", 12):
            return FIELD_CACHE_STATUS
        return FIELD_PROXY_STATUS if word_is(p, "proxy-status", 12) else FIELD_OTHER
    elif n == 13:
        return _field_id_13(p)
    elif n == 14:
        return FIELD_CONTENT_LENGTH if word_is(p, "content-length", 14) else FIELD_OTHER
    elif n == 15:
        if word_is(p, "accept-encoding", 15):
            return FIELD_ACCEPT_ENCODING
        return FIELD_X_FORWARDED_FOR if word_is(p, "x-forwarded-for", 15) else FIELD_OTHER
    elif n == 16:
        if word_is(p, "x-forwarded-host", 16):
            return FIELD_X_FORWARDED_HOST
        if word_is(p, "content-encoding", 16):
            return FIELD_CONTENT_ENCODING
        if word_is(p, "content-location", 16):
            return FIELD_CONTENT_LOCATION
        return FIELD_PROXY_CONNECTION if word_is(p, "proxy-connection", 16) else FIELD_OTHER
    elif n == 17:
        if word_is(p, "transfer-encoding", 17):
            return FIELD_TRANSFER_ENCODING
        if word_is(p, "x-forwarded-proto", 17):
            return FIELD_X_FORWARDED_PROTO
        if word_is(p, "if-modified-since", 17):
            return FIELD_IF_MODIFIED_SINCE
        if word_is(p, "cdn-cache-control", 17):
            return FIELD_CDN_CACHE_CONTROL
        return FIELD_SEC_WEBSOCKET_KEY if word_is(p, "sec-websocket-key", 17) else FIELD_OTHER
    elif n == 18:
        return FIELD_PROXY_AUTHENTICATE if word_is(p, "proxy-authenticate", 18) else FIELD_OTHER
    elif n == 19:
        if word_is(p, "if-unmodified-since", 19):
            return FIELD_IF_UNMODIFIED_SINCE
        return FIELD_PROXY_AUTHORIZATION if word_is(p, "proxy-authorization", 19) else FIELD_OTHER
    return FIELD_OTHER


cdef inline uint8_t method_id(const uint8_t* p, size_t n) noexcept nogil:
    """METHOD_* of a token; methods are case-sensitive (RFC 9110 §9.1)."""
    if n == 3:
        if memcmp(p, <const char*>b"GET", 3) == 0:
            return METHOD_GET
        if memcmp(p, <const char*>b"PUT", 3) == 0:
            return METHOD_PUT
    elif n == 4:
        if memcmp(p, <const char*>b"POST", 4) == 0:
            return METHOD_POST
        if memcmp(p, <const char*>b"HEAD", 4) == 0:
            return METHOD_HEAD
    elif n == 5:
        if memcmp(p, <const char*>b"PATCH", 5) == 0:
            return METHOD_PATCH
        if memcmp(p, <const char*>b"TRACE", 5) == 0:
            return METHOD_TRACE
    elif n == 6:
        if memcmp(p, <const char*>b"DELETE", 6) == 0:
            return METHOD_DELETE
    elif n == 7:
        if memcmp(p, <const char*>b"OPTIONS", 7) == 0:
            return METHOD_OPTIONS
        if memcmp(p, <const char*>b"CONNECT", 7) == 0:
            return METHOD_CONNECT
    return METHOD_OTHER
