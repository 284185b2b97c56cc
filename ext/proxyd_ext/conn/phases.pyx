"""The table of legal transitions. A streaming answer stays in DELIVER while its body overlaps with reading; a retry goes back to PICK.

A hit goes from CACHE_LOOKUP straight to FILTER_RESPONSE, and so does a stale answer from wherever no server could be asked. Who waits for
the fetch of another, or for the shared tier, waits in CACHE_LOOKUP. Routes without a cache only pass through its two phases.
"""

cdef uint32_t[PHASE_COUNT] _next

_next[PHASE_READ_HEAD] = 1 << PHASE_ROUTE | 1 << PHASE_FILTER_RESPONSE | 1 << PHASE_LOG
_next[PHASE_ROUTE] = 1 << PHASE_FILTER_REQUEST | 1 << PHASE_FILTER_RESPONSE | 1 << PHASE_LOG
_next[PHASE_FILTER_REQUEST] = 1 << PHASE_FILTER_REQUEST | 1 << PHASE_CACHE_LOOKUP | 1 << PHASE_PICK | \
    1 << PHASE_FILTER_RESPONSE | 1 << PHASE_LOG
_next[PHASE_CACHE_LOOKUP] = 1 << PHASE_PICK | 1 << PHASE_FILTER_RESPONSE | 1 << PHASE_LOG
_next[PHASE_PICK] = 1 << PHASE_PICK | 1 << PHASE_CONNECT | 1 << PHASE_SEND_REQUEST | 1 << PHASE_FILTER_RESPONSE | 1 << PHASE_LOG
_next[PHASE_CONNECT] = 1 << PHASE_SEND_REQUEST | 1 << PHASE_PICK | 1 << PHASE_FILTER_RESPONSE | 1 << PHASE_LOG
_next[PHASE_SEND_REQUEST] = 1 << PHASE_READ_RESPONSE | 1 << PHASE_PICK | 1 << PHASE_FILTER_RESPONSE | 1 << PHASE_LOG
_next[PHASE_READ_RESPONSE] = 1 << PHASE_FILTER_ORIGIN_RESPONSE | 1 << PHASE_PICK | 1 << PHASE_FILTER_RESPONSE | 1 << PHASE_LOG
_next[PHASE_FILTER_ORIGIN_RESPONSE] = 1 << PHASE_CACHE_STORE | 1 << PHASE_FILTER_RESPONSE | 1 << PHASE_LOG
_next[PHASE_CACHE_STORE] = 1 << PHASE_FILTER_RESPONSE | 1 << PHASE_LOG
_next[PHASE_FILTER_RESPONSE] = 1 << PHASE_FILTER_RESPONSE | 1 << PHASE_DELIVER | 1 << PHASE_LOG
_next[PHASE_DELIVER] = 1 << PHASE_LOG
_next[PHASE_LOG] = 1 << PHASE_DONE
_next[PHASE_DONE] = 0


cdef uint32_t phase_next(int phase) noexcept nogil:
    return _next[phase]


def transitions() -> dict[str, list[str]]:
    """The table in words, for docs and tests."""
    names = ("read_head", "route", "filter_request", "cache_lookup", "pick", "connect", "send_request", "read_response",
             "filter_origin_response", "cache_store", "filter_response", "deliver", "log", "done")
    return {names[p]: [names[n] for n in range(PHASE_COUNT) if _next[p] >> n & 1] for p in range(PHASE_COUNT)}
