# cython: cdivision=True
"""Storing and freshness (see freshness.pxd).

What a config assumes never reaches further than HTTP lets a cache assume: `default_s` and `override_s` are for statuses that are
heuristically cacheable and no errors, so that a broken minute of a server is not kept for an hour.

s-maxage forbids stale use (RFC 9111 §5.2.2.10), yet `s-maxage=60, stale-while-revalidate=600` is what people write when they want just
that: a window that the answer itself states beside s-maxage is believed, one from the config is not.  must-revalidate and
proxy-revalidate forbid any.
"""
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free
from proxyd_ext.cache.control cimport (
    CC_MAX_STALE_ANY, CC_MUST_REVALIDATE, CC_MUST_UNDERSTAND, CC_NO_CACHE, CC_NO_STORE, CC_NO_TRANSFORM, CC_PRIVATE, CC_PROXY_REVALIDATE,
    CC_PUBLIC, DELTA_MAX, control_none, parse_age, parse_cache_control, parse_request_directives, parse_targeted,
)
from proxyd_ext.cache.dates cimport head_date
from proxyd_ext.cache.probe cimport OwnHead, own_head
from proxyd_ext.cache.vary cimport VARY_NAMES_BYTES, accepted_encodings, content_encoding, names_have, vary_names
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.http1.head cimport (
    FIELD_AUTHORIZATION, FIELD_CACHE_CONTROL, FIELD_CDN_CACHE_CONTROL, FIELD_DATE, FIELD_ETAG, FIELD_EXPIRES,
    FIELD_LAST_MODIFIED, FIELD_SET_COOKIE, METHOD_GET, head_field,
)


# ---- statuses

cdef inline bint _is_understood(int status) noexcept nogil:
    """The final statuses of RFC 9110 §15 that can be stored: we do with them what it says."""
    return (200 <= status <= 205 or 300 <= status <= 303 or status == 305 or status == 307 or status == 308 or 400 <= status <= 415
            or status == 417 or status == 421 or status == 422 or status == 426 or 500 <= status <= 505)


cdef inline bint _is_assumable(int status) noexcept nogil:
    """Heuristically cacheable, and no error: for lifetimes that a config assumes."""
    return status == 200 or status == 203 or status == 204 or status == 300 or status == 301 or status == 308


cdef inline bint _is_heuristic(int status) noexcept nogil:
    """RFC 9110 §15.1 (206 is never stored)."""
    return _is_assumable(status) or status == 404 or status == 405 or status == 410 or status == 414 or status == 501


# ---- storing

cdef int _judge_variants(const RequestFacts* request, const Head* answer) noexcept nogil:
    cdef uint8_t[VARY_NAMES_BYTES] names
    cdef int n = vary_names(answer, names, VARY_NAMES_BYTES), encoding
    if n < 0:
        return STORE_VARY
    if n > 0 and names_have(slice_of(names, n), "accept-encoding", 15) and request.encodings >= 0:
        encoding = content_encoding(answer)
        if encoding < 0 or encoding & ~request.encodings:
            return STORE_ENCODING
    return STORE_OK


cdef int _refusal(const RequestFacts* request, const Head* answer, const FreshnessRules* rules,
                  const CacheControl* control) noexcept nogil:
    """What forbids to store, whatever the lifetime (RFC 9111 §3, §3.5); STORE_OK: nothing."""
    cdef int flags = control.flags
    if request.method != METHOD_GET:
        return STORE_METHOD
    if answer.status < 200 or answer.status == 304 or answer.status > 599:
        return STORE_STATUS
    if answer.status == 206 or answer.status == 416:         # elsewhere Content-Range means nothing (RFC 9110 §14.4)
        return STORE_PARTIAL
    if flags & CC_MUST_UNDERSTAND:          # §5.2.2.3: who understands the status ignores no-store
        if not _is_understood(answer.status):
            return STORE_NOT_UNDERSTOOD
    elif flags & CC_NO_STORE:
        return STORE_NO_STORE
    if request.control.flags & CC_NO_STORE:
        return STORE_NO_STORE_REQUEST
    if flags & CC_PRIVATE:
        return STORE_PRIVATE
    if request.authorization and not flags & (CC_PUBLIC | CC_MUST_REVALIDATE) and control.s_maxage < 0:
        return STORE_AUTHORIZATION
    if answer.first[FIELD_SET_COOKIE] and not rules.strip_set_cookie:
        return STORE_SET_COOKIE
    return _judge_variants(request, answer)


# ---- lifetime

cdef inline int64_t _most(int64_t seconds) noexcept nogil:
    return 0 if seconds < 0 else seconds if seconds < DELTA_MAX else DELTA_MAX


cdef int64_t _said_lifetime(const Head* answer, const CacheControl* control, bint targeted, int64_t date_s,
                            int64_t now_s) noexcept nogil:
    """What the answer says (RFC 9111 §4.2.1): s-maxage, max-age, Expires - Date; -1: nothing.  An Expires that is no date has passed."""
    cdef int64_t expires
    if control.s_maxage >= 0:
        return control.s_maxage
    if control.max_age >= 0:
        return control.max_age
    if targeted or answer.first[FIELD_EXPIRES] == 0:
        return -1
    expires = head_date(answer, FIELD_EXPIRES, now_s)
    return _most(expires - date_s)


cdef int64_t _heuristic_lifetime(const Head* answer, const FreshnessRules* rules, int64_t date_s, int64_t now_s) noexcept nogil:
    """A part of the time since Last-Modified (RFC 9111 §4.2.2); -1: none."""
    cdef int64_t modified = head_date(answer, FIELD_LAST_MODIFIED, now_s), lifetime
    if rules.heuristic_percent <= 0 or modified < 0 or modified > date_s:
        return -1
    lifetime = (date_s - modified) * rules.heuristic_percent // 100
    return _most(lifetime if rules.heuristic_max_s < 0 or lifetime < rules.heuristic_max_s else rules.heuristic_max_s)


cdef inline int64_t _bounded(int64_t lifetime, const FreshnessRules* rules, int status) noexcept nogil:
    if lifetime < rules.min_s and _is_assumable(status):
        lifetime = rules.min_s
    if rules.max_s >= 0 and lifetime > rules.max_s:
        lifetime = rules.max_s
    return lifetime


cdef int64_t _lifetime(const Head* answer, const FreshnessRules* rules, int64_t said, bint public, int64_t date_s,
                       int64_t now_s) noexcept nogil:
    """The lifetime that counts; -1: neither said nor assumed."""
    cdef int64_t guessed
    if rules.override_s >= 0 and _is_assumable(answer.status):
        return rules.override_s
    if said >= 0:
        return _bounded(said, rules, answer.status)
    if rules.negative_s >= 0:
        return rules.negative_s
    if rules.default_s >= 0 and _is_assumable(answer.status):
        return rules.default_s
    if not public and not _is_heuristic(answer.status):
        return -1
    guessed = _heuristic_lifetime(answer, rules, date_s, now_s)
    return guessed if guessed < 0 else _bounded(guessed, rules, answer.status)


cdef void _stale_windows(const CacheControl* control, const FreshnessRules* rules, Freshness* out) noexcept nogil:
    """How long it may be used stale (RFC 5861, RFC 9111 §4.2.4)."""
    cdef int64_t while_revalidate = control.stale_while_revalidate, if_error = control.stale_if_error
    out.no_cache = control.flags & CC_NO_CACHE != 0
    out.must_revalidate = control.flags & (CC_MUST_REVALIDATE | CC_PROXY_REVALIDATE) != 0
    if out.no_cache or out.must_revalidate:
        while_revalidate = if_error = 0
    elif control.s_maxage >= 0:
        out.must_revalidate = True
    else:
        while_revalidate = while_revalidate if while_revalidate >= 0 else rules.while_revalidate_s
        if_error = if_error if if_error >= 0 else rules.if_error_s
    out.stale_while_revalidate_s = _most(while_revalidate)
    out.stale_if_error_s = _most(if_error)


cdef int64_t _initial_age(const Head* answer, int64_t date_s, int64_t request_s, int64_t response_s) noexcept nogil:
    """corrected_initial_age (RFC 9111 §4.2.3)."""
    cdef int64_t apparent = response_s - date_s if response_s > date_s else 0
    cdef int64_t age = parse_age(answer)
    cdef int64_t corrected = (age if age > 0 else 0) + (response_s - request_s if response_s > request_s else 0)
    return _most(apparent if apparent > corrected else corrected)


cdef void read_facts(const Head* request, bint obey, RequestFacts* out) noexcept nogil:
    if obey:
        parse_request_directives(request, &out.control)
    else:
        out.control = control_none()
    out.method = request.method
    out.authorization = request.first[FIELD_AUTHORIZATION] != 0
    out.encodings = accepted_encodings(request)


cdef int judge_answer(const RequestFacts* request, const Head* answer, const FreshnessRules* rules, int64_t request_s,
                      int64_t response_s, Freshness* out) noexcept nogil:
    cdef CacheControl control, targeted_control
    cdef bint targeted = parse_targeted(answer, FIELD_CDN_CACHE_CONTROL, &targeted_control), public, has_validator
    cdef int64_t date_s = head_date(answer, FIELD_DATE, response_s), said, lifetime, longest
    cdef int reason
    parse_cache_control(answer, FIELD_CACHE_CONTROL, &control)
    # no-transform is for every intermediary, whether or not it looks at the targeted field.
    out.no_transform = (control.flags | targeted_control.flags) & CC_NO_TRANSFORM != 0
    if targeted:
        control = targeted_control
    reason = _refusal(request, answer, rules, &control)
    if reason != STORE_OK:
        return reason
    if date_s < 0:
        date_s = response_s     # RFC 9110 §6.6.1: without a Date, the time it was received
    public = control.flags & CC_PUBLIC != 0
    has_validator = head_field(answer, FIELD_ETAG).size > 0 or head_date(answer, FIELD_LAST_MODIFIED, response_s) >= 0
    said = _said_lifetime(answer, &control, targeted, date_s, response_s)
    out.explicit = said >= 0
    lifetime = _lifetime(answer, rules, said, public, date_s, response_s)
    if lifetime < 0:
        # RFC 9111 §3 lets it be stored all the same, to be revalidated, if its status or `public` makes it cacheable.
        if not has_validator or not (public or _is_heuristic(answer.status)):
            return STORE_NO_FRESHNESS
        lifetime = 0
    out.lifetime_s = lifetime
    out.initial_age_s = _initial_age(answer, date_s, request_s, response_s)
    _stale_windows(&control, rules, out)
    longest = out.stale_while_revalidate_s if out.stale_while_revalidate_s > out.stale_if_error_s else out.stale_if_error_s
    if not has_validator and (out.no_cache or lifetime + longest <= out.initial_age_s):
        return STORE_STALE
    return STORE_OK


# ---- using

cdef int may_serve(const Freshness* stored, int64_t age_s, const CacheControl* request, bint* if_error) noexcept nogil:
    cdef int64_t stale_s = age_s - stored.lifetime_s     # below 0: fresh (RFC 9111 §4.2: while the lifetime is longer than the age)
    cdef int64_t window = stored.stale_if_error_s
    cdef bint takes_stale = request.max_stale >= 0 or request.flags & CC_MAX_STALE_ANY != 0
    if not stored.must_revalidate and request.stale_if_error > window:
        window = request.stale_if_error                  # RFC 5861 §4: a request may say it, too
    if_error[0] = not stored.no_cache and not request.flags & CC_NO_CACHE and (stale_s < 0 or (window > 0 and stale_s <= window))
    if stored.no_cache or request.flags & CC_NO_CACHE:
        return SERVE_NOT
    if request.max_age >= 0 and age_s > request.max_age:
        return SERVE_NOT
    if stale_s < 0:
        # §5.2.1.3: fresh for at least min-fresh longer.
        return SERVE_FRESH if request.min_fresh < 0 or stored.lifetime_s >= age_s + request.min_fresh else SERVE_NOT
    # §5.2.1.1, §5.2.1.3: who limits the age or asks for freshness wants nothing stale, but for max-stale.
    if (request.max_age >= 0 or request.min_fresh >= 0) and not takes_stale:
        return SERVE_NOT
    if request.max_stale >= 0 and stale_s > request.max_stale:
        return SERVE_NOT
    if stored.stale_while_revalidate_s > 0 and stale_s <= stored.stale_while_revalidate_s:
        return SERVE_STALE_REVALIDATE
    return SERVE_STALE if takes_stale and not stored.must_revalidate else SERVE_NOT


cdef const char* store_word(int reason) noexcept nogil:
    if reason == STORE_METHOD:
        return "method"
    elif reason == STORE_STATUS:
        return "status"
    elif reason == STORE_PARTIAL:
        return "partial"
    elif reason == STORE_NOT_UNDERSTOOD:
        return "must-understand"
    elif reason == STORE_NO_STORE_REQUEST:
        return "request-no-store"
    elif reason == STORE_NO_STORE:
        return "no-store"
    elif reason == STORE_PRIVATE:
        return "private"
    elif reason == STORE_AUTHORIZATION:
        return "authorization"
    elif reason == STORE_SET_COOKIE:
        return "set-cookie"
    elif reason == STORE_VARY:
        return "vary"
    elif reason == STORE_ENCODING:
        return "encoding"
    elif reason == STORE_NO_FRESHNESS:
        return "no-freshness"
    elif reason == STORE_STALE:
        return "stale"
    return ""


# ---- for tests and tools

cdef FreshnessRules _rules(dict said):
    """FreshnessRules with what is said; ValueError for a word that is none of them."""
    cdef FreshnessRules rules
    known = {
        "default_s": -1, "override_s": -1, "negative_s": -1, "min_s": -1, "max_s": -1, "heuristic_percent": 0, "heuristic_max_s": 86400,
        "while_revalidate_s": -1, "if_error_s": -1, "strip_set_cookie": False,
    }
    if unknown := said.keys() - known:
        raise ValueError(f"no such rule: {unknown}")
    known |= said
    rules.default_s, rules.override_s, rules.negative_s = known["default_s"], known["override_s"], known["negative_s"]
    rules.min_s, rules.max_s = known["min_s"], known["max_s"]
    rules.heuristic_percent, rules.heuristic_max_s = known["heuristic_percent"], known["heuristic_max_s"]
    rules.while_revalidate_s, rules.if_error_s = known["while_revalidate_s"], known["if_error_s"]
    rules.strip_set_cookie = known["strip_set_cookie"]
    return rules


def judge(bytes request not None, bytes answer not None, *, int64_t request_s, int64_t response_s, bint obey=True, **said) -> dict | str:
    """judge_answer: the Freshness, or the word of the reason not to store."""
    cdef FreshnessRules rules = _rules(said)
    cdef RequestFacts facts
    cdef Freshness found
    cdef int reason
    cdef OwnHead* head = own_head(request, False)
    read_facts(&head.head, obey, &facts)
    free(head)
    head = own_head(answer, True)
    with nogil:
        reason = judge_answer(&facts, &head.head, &rules, request_s, response_s, &found)
    free(head)
    if reason != STORE_OK:
        return store_word(reason).decode()
    return {
        "lifetime_s": found.lifetime_s, "initial_age_s": found.initial_age_s, "stale_while_revalidate_s": found.stale_while_revalidate_s,
        "stale_if_error_s": found.stale_if_error_s, "no_cache": bool(found.no_cache), "must_revalidate": bool(found.must_revalidate),
        "explicit": bool(found.explicit), "no_transform": bool(found.no_transform),
    }


def serve(bytes request not None, int64_t age_s, *, int64_t lifetime_s, int64_t stale_while_revalidate_s=0, int64_t stale_if_error_s=0,
          bint no_cache=False, bint must_revalidate=False) -> tuple[str, bool]:
    """may_serve: ("fresh", "stale", "revalidate behind" or "not", may be used on error)."""
    cdef Freshness stored
    cdef CacheControl control
    cdef bint if_error
    cdef int verdict
    cdef OwnHead* head = own_head(request, False)
    parse_request_directives(&head.head, &control)
    free(head)
    stored.lifetime_s, stored.initial_age_s = lifetime_s, 0
    stored.stale_while_revalidate_s, stored.stale_if_error_s = stale_while_revalidate_s, stale_if_error_s
    stored.no_cache, stored.must_revalidate, stored.explicit, stored.no_transform = no_cache, must_revalidate, True, False
    verdict = may_serve(&stored, age_s, &control, &if_error)
    words = {SERVE_FRESH: "fresh", SERVE_STALE: "stale", SERVE_STALE_REVALIDATE: "revalidate behind", SERVE_NOT: "not"}
    return words[verdict], bool(if_error)


def store_words() -> list[str]:
    """store_word of every STORE_*, in order."""
    return [store_word(reason).decode() for reason in range(STORE_COUNT)]
