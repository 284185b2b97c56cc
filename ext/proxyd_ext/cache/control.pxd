"""Cache directives: Cache-Control of requests and answers, Pragma, CDN-Cache-Control (RFC 9111 §5.2, §5.4; RFC 9213)."""
from libc.stdint cimport int64_t, uint32_t
from proxyd_ext.http1.head cimport Head


cdef enum:
    CC_PRESENT = 1 << 0             # there is such a field, whatever it says
    CC_NO_STORE = 1 << 1
    CC_NO_CACHE = 1 << 2            # with field names, too: then it is taken as the unqualified one (RFC 9111 §5.2.2.4 lets a cache do so)
    CC_PRIVATE = 1 << 3             # the same (§5.2.2.7)
    CC_PUBLIC = 1 << 4
    CC_MUST_REVALIDATE = 1 << 5
    CC_PROXY_REVALIDATE = 1 << 6
    CC_MUST_UNDERSTAND = 1 << 7
    CC_NO_TRANSFORM = 1 << 8
    CC_ONLY_IF_CACHED = 1 << 9
    CC_MAX_STALE_ANY = 1 << 10      # max-stale without a number: however stale
    CC_IMMUTABLE = 1 << 11          # RFC 8246

    DELTA_MAX = 2147483648          # delta-seconds end here (RFC 9111 §1.2.2)


ctypedef struct CacheControl:
    uint32_t flags                  # CC_*
    int64_t max_age                 # seconds, 0..DELTA_MAX; -1: not said.  So are all that follow
    int64_t s_maxage
    int64_t min_fresh
    int64_t max_stale               # -1 with CC_MAX_STALE_ANY
    int64_t stale_while_revalidate
    int64_t stale_if_error


cdef inline CacheControl control_none() noexcept nogil:
    """What a message without directives says; also for requests whose directives are not obeyed."""
    cdef CacheControl control
    control.flags = 0
    control.max_age = control.s_maxage = control.min_fresh = control.max_stale = -1
    control.stale_while_revalidate = control.stale_if_error = -1
    return control


# The directives of all fields with this id, as one list.  Of a directive that comes twice the first counts (RFC 9111 §4.2.1); an argument
# that is no number is 0: stale, for what it was meant to keep fresh.
cdef void parse_cache_control(const Head* head, int field_id, CacheControl* out) noexcept nogil

# Cache-Control of a request; without one, Pragma: no-cache is Cache-Control: no-cache (RFC 9111 §5.4).
cdef void parse_request_directives(const Head* head, CacheControl* out) noexcept nogil

# CDN-Cache-Control and its like: a dictionary of RFC 8941, judged as RFC 9213 §2.1 says.  False: absent, empty or invalid, and then it is
# ignored as a whole; invalid is also a known directive with a value that cannot be its own, such as max-age="60".
# When true, it stands for Cache-Control and Expires (RFC 9213 §2.2).
cdef bint parse_targeted(const Head* head, int field_id, CacheControl* out) noexcept nogil

# Age (RFC 9111 §5.1): of several, the first counts; -1: none, or none that is a number.
cdef int64_t parse_age(const Head* head) noexcept nogil
