"""Cache directives and freshness: whatever an answer says, numbers stay within bounds, and what is forbidden is not stored.

An input is field lines, read as an answer's and as a request's.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free
from proxyd_ext.cache.control cimport (
    CC_IMMUTABLE, CC_MUST_UNDERSTAND, CC_NO_STORE, CC_PRESENT, CC_PRIVATE, DELTA_MAX, CacheControl, parse_age, parse_cache_control,
    parse_request_directives, parse_targeted,
)
from proxyd_ext.cache.freshness cimport (
    SERVE_FRESH, SERVE_NOT, STORE_COUNT, STORE_OK, Freshness, FreshnessRules, RequestFacts, judge_answer, may_serve, read_facts,
)
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.http1.head cimport FIELD_CACHE_CONTROL, FIELD_CDN_CACHE_CONTROL, Head
from proxyd_fuzz.heads cimport answer_around, request_around


cdef enum:
    NOW = 1800000000


cdef void check_control(const CacheControl* control) noexcept nogil:
    INVARIANT(control.flags < 2 * CC_IMMUTABLE)
    INVARIANT(-1 <= control.max_age <= DELTA_MAX and -1 <= control.s_maxage <= DELTA_MAX)
    INVARIANT(-1 <= control.min_fresh <= DELTA_MAX and -1 <= control.max_stale <= DELTA_MAX)
    INVARIANT(-1 <= control.stale_while_revalidate <= DELTA_MAX and -1 <= control.stale_if_error <= DELTA_MAX)


cdef void check_use(const Freshness* found, const CacheControl* asked) noexcept nogil:
    """What may be used once stale may be used fresh; nothing is used for ever."""
    cdef bint if_error
    cdef int64_t age
    cdef int use
    for age in range(0, 100, 7):
        use = may_serve(found, age, asked, &if_error)
        INVARIANT(use != SERVE_FRESH or age < found.lifetime_s)
        INVARIANT(not found.no_cache or (use == SERVE_NOT and not if_error))


cdef void check_answer(const Head* answer, const RequestFacts* facts) noexcept nogil:
    cdef CacheControl control, targeted
    cdef FreshnessRules rules
    cdef Freshness found
    cdef bint is_targeted
    cdef int reason
    parse_cache_control(answer, FIELD_CACHE_CONTROL, &control)
    check_control(&control)
    is_targeted = parse_targeted(answer, FIELD_CDN_CACHE_CONTROL, &targeted)
    check_control(&targeted)
    INVARIANT(is_targeted == (targeted.flags & CC_PRESENT != 0))
    INVARIANT(-1 <= parse_age(answer) <= DELTA_MAX)
    rules.default_s, rules.override_s, rules.negative_s, rules.min_s, rules.max_s = -1, -1, -1, -1, -1
    rules.heuristic_percent, rules.heuristic_max_s, rules.while_revalidate_s, rules.if_error_s = 10, 86400, -1, -1
    rules.strip_set_cookie = True
    reason = judge_answer(facts, answer, &rules, NOW - 5, NOW, &found)
    INVARIANT(STORE_OK <= reason < STORE_COUNT)
    if is_targeted:
        control = targeted
    INVARIANT(reason != STORE_OK or not control.flags & CC_PRIVATE)
    INVARIANT(reason != STORE_OK or not control.flags & CC_NO_STORE or control.flags & CC_MUST_UNDERSTAND)
    if reason == STORE_OK:
        INVARIANT(0 <= found.lifetime_s <= DELTA_MAX and 5 <= found.initial_age_s <= DELTA_MAX)
        INVARIANT(0 <= found.stale_while_revalidate_s <= DELTA_MAX and 0 <= found.stale_if_error_s <= DELTA_MAX)
        check_use(&found, &facts.control)


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef Head* answer = answer_around(data, size)
    cdef Head* request = request_around(data, size)
    cdef RequestFacts facts
    cdef CacheControl asked
    if request != NULL:
        read_facts(request, True, &facts)
        check_control(&facts.control)
        parse_request_directives(request, &asked)
        INVARIANT(asked.flags == facts.control.flags)
        if answer != NULL:
            check_answer(answer, &facts)
    free(request)
    free(answer)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
