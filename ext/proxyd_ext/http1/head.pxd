"""HTTP/1 message heads, parsed in one strict pass over bytes that somebody else owns (RFC 9112; strictness: design.md §5).

Nothing here copies: every slice points into the buffer that was parsed, and lives as long as that buffer.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from proxyd_ext.core.slice cimport Slice


cdef enum:
    MAX_FIELDS = 256      # hard bound of the field array; the configured header_count is at most this

    METHOD_OTHER = 0      # any other valid token
    METHOD_GET = 1
    METHOD_HEAD = 2
    METHOD_POST = 3
    METHOD_PUT = 4
    METHOD_DELETE = 5
    METHOD_OPTIONS = 6
    METHOD_PATCH = 7
    METHOD_TRACE = 8
    METHOD_CONNECT = 9
    METHOD_COUNT = 10

    TARGET_ORIGIN = 0     # /path?query
    TARGET_ABSOLUTE = 1   # http://authority/path?query
    TARGET_AUTHORITY = 2  # CONNECT host:port
    TARGET_ASTERISK = 3   # OPTIONS *

    BODY_NONE = 0
    BODY_LENGTH = 1       # Content-Length
    BODY_CHUNKED = 2
    BODY_CLOSE = 3        # until the connection closes (responses only)

    FIELD_OTHER = 0       # known fields: routing, framing, hop-by-hop, logged, and those that the cache and the gateway ask for
    FIELD_HOST = 1
    FIELD_CONNECTION = 2
    FIELD_KEEP_ALIVE = 3
    FIELD_PROXY_CONNECTION = 4
    FIELD_TE = 5
    FIELD_TRAILER = 6
    FIELD_TRANSFER_ENCODING = 7
    FIELD_UPGRADE = 8
    FIELD_CONTENT_LENGTH = 9
    FIELD_EXPECT = 10
    FIELD_VIA = 11
    FIELD_X_FORWARDED_FOR = 12
    FIELD_X_FORWARDED_PROTO = 13
    FIELD_X_FORWARDED_HOST = 14
    FIELD_X_REQUEST_ID = 15
    FIELD_USER_AGENT = 16
    FIELD_REFERER = 17
    FIELD_COOKIE = 18
    FIELD_AUTHORIZATION = 19
    FIELD_ACCEPT = 20
    FIELD_DATE = 21
    FIELD_SERVER = 22
    FIELD_CONTENT_TYPE = 23
    FIELD_TRACEPARENT = 24
    FIELD_PROXY_AUTHENTICATE = 25
    FIELD_PROXY_AUTHORIZATION = 26
    FIELD_PROXY_STATUS = 27
    FIELD_SET_COOKIE = 28
    FIELD_CACHE_CONTROL = 29
    FIELD_VARY = 30
    FIELD_ETAG = 31
    FIELD_FORWARDED = 32
    FIELD_X_REAL_IP = 33
    FIELD_RETRY_AFTER = 34
    FIELD_SEC_WEBSOCKET_KEY = 35
    FIELD_AGE = 36
    FIELD_EXPIRES = 37
    FIELD_PRAGMA = 38
    FIELD_IF_NONE_MATCH = 39
    FIELD_IF_MODIFIED_SINCE = 40
    FIELD_IF_MATCH = 41
    FIELD_IF_UNMODIFIED_SINCE = 42
    FIELD_IF_RANGE = 43
    FIELD_RANGE = 44
    FIELD_LAST_MODIFIED = 45
    FIELD_CONTENT_RANGE = 46
    FIELD_CONTENT_ENCODING = 47
    FIELD_ACCEPT_ENCODING = 48
    FIELD_LOCATION = 49
    FIELD_CONTENT_LOCATION = 50
    FIELD_CDN_CACHE_CONTROL = 51
    FIELD_SURROGATE_KEY = 52
    FIELD_CACHE_TAG = 53
    FIELD_CACHE_STATUS = 54
    FIELD_WARNING = 55
    FIELD_TRACESTATE = 56
    FIELD_COUNT = 57      # at most 64: sets of them are words (field_bit)

    HEAD_KEEP_ALIVE = 1 << 0         # the sender will keep the connection (version and Connection taken together)
    HEAD_CONNECTION_CLOSE = 1 << 1   # Connection: close was said
    HEAD_UPGRADE_WEBSOCKET = 1 << 2  # Connection: upgrade with exactly Upgrade: websocket
    HEAD_EXPECT_CONTINUE = 1 << 3    # Expect: 100-continue (HTTP/1.1 only; a 1.0 expectation is ignored, RFC 9110 §10.1.1)
    HEAD_CONNECTION_NAMES = 1 << 4   # Connection names fields other than close, keep-alive, upgrade, te: they are hop-by-hop too
    HEAD_UPGRADE_OTHER = 1 << 5      # an Upgrade that is not passed on (h2c, ...): dropped, request served as plain
    HEAD_TRAILERS_ANNOUNCED = 1 << 6  # there is a Trailer field


ctypedef struct Field:
    uint32_t name         # offset of the first byte of the name, from Head.base
    uint32_t value        # offset of the first byte of the value (outer blanks removed)
    uint32_t value_size   # bytes
    uint16_t name_size    # bytes
    uint8_t id            # FIELD_*
    uint8_t hop           # 1: belongs to this connection only (RFC 9110 §7.6.1), never forwarded


ctypedef struct HeadLimits:
    uint32_t head_size    # bytes of a whole head, empty line included
    uint32_t uri_length   # bytes of the request target
    uint32_t field_count  # fields, at most MAX_FIELDS


ctypedef struct Head:
    const uint8_t* base   # the buffer
    uint32_t size         # bytes of the head, empty line included
    uint32_t flags        # HEAD_*
    uint8_t minor         # 0 or 1: HTTP/1.x
    uint8_t method        # METHOD_*            (requests)
    uint8_t target_form   # TARGET_*            (requests)
    uint8_t body          # BODY_*; for responses without regard to the request's method
    uint16_t status       # 100..999            (responses)
    uint16_t field_count
    uint64_t content_length   # for BODY_LENGTH; for responses kept even when a HEAD or 304 has no body
    bint has_content_length
    Slice method_text     # as sent             (requests)
    Slice path            # raw path, begins with '/'; "/" for an empty absolute-form path; "*" for TARGET_ASTERISK
    Slice query           # without '?'; data NULL when there was no '?'
    Slice host            # authority that counts: absolute-form's if given (RFC 9112 §3.2.2), else Host; may carry a port
    Slice reason          # responses
    uint16_t[FIELD_COUNT] first   # index + 1 of the first field of each known id; 0: absent
    Field[MAX_FIELDS] fields


# Parse the head at the front of data[0:size].
# `scanned` carries over how far the search for the empty line came in an earlier call on the same, since grown, bytes (start with 0),
# so that a head that dribbles in costs O(n).
# Returns the head's size in bytes (> 0), 0 when it is incomplete, or -FAULT_*.  A limit is enforced on incomplete heads too.
# Empty lines before a request line are skipped (RFC 9112 §2.2; at most 4) and count into the returned size.
cdef int parse_request_head(const uint8_t* data, size_t size, size_t* scanned, const HeadLimits* limits, Head* out) noexcept nogil

# The same for a response; origin's faults come back as FAULT_UPSTREAM_HEAD_MALFORMED, _HEAD_TOO_LARGE, _FRAMING.  RFC repairs are made:
# a space before the colon is removed, obs-fold is joined: the folded bytes are overwritten with spaces in place (hence not const).
# `status` 1xx, 204, 304 have BODY_NONE.  101 keeps HEAD_UPGRADE_WEBSOCKET if it says so.
cdef int parse_response_head(uint8_t* data, size_t size, size_t* scanned, const HeadLimits* limits, Head* out) noexcept nogil

# The first field with this id, or an empty slice (data NULL).
cdef inline Slice head_field(const Head* head, int id) noexcept nogil:
    cdef Slice s
    cdef uint16_t at = head.first[id]
    if at == 0:
        s.data = NULL
        s.size = 0
        return s
    s.data = head.base + head.fields[at - 1].value
    s.size = head.fields[at - 1].value_size
    return s

# Split an authority into name and port: brackets of an IPv6 literal are removed from the name, a trailing dot too.
# Returns the port (0: none) or -FAULT_HOST_INVALID.
cdef int split_host(Slice authority, Slice* name) noexcept nogil

# METHOD_* of a token, and the other way round (NULL-terminated; METHOD_OTHER gives "OTHER").
cdef uint8_t method_of(Slice token) noexcept nogil
cdef const char* method_name(uint8_t method) noexcept nogil
