"""May a shared cache store an answer, for how long is it fresh, and may it be used now (RFC 9111 §3, §4.2, §5.2; RFC 5861; RFC 9213)."""
from libc.stdint cimport int64_t, uint8_t
from proxyd_ext.cache.control cimport CacheControl
from proxyd_ext.http1.head cimport Head


cdef enum:
    STORE_OK = 0
    STORE_METHOD = 1            # the request was no GET
    STORE_STATUS = 2            # 1xx, 304, no status of HTTP
    STORE_PARTIAL = 3           # 206, 416, or a Content-Range: no whole representation
    STORE_NOT_UNDERSTOOD = 4    # must-understand, with a status that we do not
    STORE_NO_STORE_REQUEST = 5
    STORE_NO_STORE = 6
    STORE_PRIVATE = 7
    STORE_AUTHORIZATION = 8     # the request had one, and the answer does not say that it is for all (RFC 9111 §3.5)
    STORE_SET_COOKIE = 9
    STORE_VARY = 10             # by "*", or by more than can be told apart
    STORE_ENCODING = 11         # varies by Accept-Encoding, in a coding that not all requests with the same vary_text accept
    STORE_NO_FRESHNESS = 12     # says nothing, and nothing may be assumed
    STORE_STALE = 13            # never fresh, nothing to revalidate it by, and no stale use allowed
    STORE_COUNT = 14

    SERVE_FRESH = 0
    SERVE_STALE = 1             # stale, and the request takes it (max-stale): use it as it is
    SERVE_STALE_REVALIDATE = 2  # stale, within stale-while-revalidate: use it and fetch it anew behind the client's back
    SERVE_NOT = 3               # revalidate, or fetch


ctypedef struct RequestFacts:
    CacheControl control        # directives of the request; control_none() where they are not obeyed
    uint8_t method              # METHOD_*
    bint authorization          # it had an Authorization field
    int encodings               # accepted_encodings() of cache/vary


# What the config says of a route.  Seconds; -1: not said.
ctypedef struct FreshnessRules:
    int64_t default_s           # lifetime of answers that say nothing: 200, 203, 204, 300, 301, 308 only
    int64_t override_s          # lifetime of these statuses, whatever they say of their lifetime
    int64_t negative_s          # lifetime of an answer with this status that says nothing; -1: this status is none of the negative ones
    int64_t min_s               # bounds of what answers say; the lower one is for the statuses of default_s only
    int64_t max_s
    int64_t heuristic_percent   # of the time since Last-Modified; 0: off
    int64_t heuristic_max_s
    int64_t while_revalidate_s  # what an answer without stale-while-revalidate gets
    int64_t if_error_s          # what an answer without stale-if-error gets
    bint strip_set_cookie       # Set-Cookie does not prevent storing: it is left out (storable_lines)


# What is kept of an answer's caching; the age at a later time is initial_age_s and the time since the answer came.
ctypedef struct Freshness:
    int64_t lifetime_s          # 0: stale at once
    int64_t initial_age_s       # when it came (corrected_initial_age, RFC 9111 §4.2.3)
    int64_t stale_while_revalidate_s  # beyond the lifetime; 0: none
    int64_t stale_if_error_s    # the same
    bint no_cache               # never used without successful revalidation
    bint must_revalidate        # never used stale, not even if the client takes it (must-revalidate, proxy-revalidate, s-maxage)
    bint explicit               # the answer itself said its lifetime
    bint no_transform           # its body must not be changed: no compressed forms of it


# What is to be remembered of a request until its answer comes.  `obey`: its directives count (they are for clients that are trusted to
# send the cache to the server, RFC 9111 §5.2.1 leaves it open).
cdef void read_facts(const Head* request, bint obey, RequestFacts* out) noexcept nogil

# Judge an answer that has come.  Times are POSIX seconds: `request_s` when the request was sent, `response_s` when the head came.
# Returns STORE_OK and fills *out, or the first reason not to store (out is then filled in parts, and means nothing).
# A HEAD's answer is STORE_METHOD: it has no body to store.
cdef int judge_answer(const RequestFacts* request, const Head* answer, const FreshnessRules* rules, int64_t request_s,
                      int64_t response_s, Freshness* out) noexcept nogil

# May a stored answer of this age be used for a request (RFC 9111 §4, §5.2.1)?  Returns SERVE_*; *if_error: it may be used if the server
# cannot be reached, or answers 500, 502, 503, 504 (RFC 5861 §4).
cdef int may_serve(const Freshness* stored, int64_t age_s, const CacheControl* request, bint* if_error) noexcept nogil

# A stable word for a STORE_* (for Cache-Status details and `proxyd cache why`); NULL-terminated, "" for STORE_OK.
cdef const char* store_word(int reason) noexcept nogil
