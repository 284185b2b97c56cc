"""Why an answer is not stored: what cache/freshness finds in the answer itself, and what this store adds."""
from proxyd_ext.cache.freshness cimport store_word


cdef enum:
    REASON_TOO_LARGE = 32     # its body is larger than max_object
    REASON_VARIANT = 33       # its Vary, or the request's values of it, are too long
    REASON_NO_ROOM = 34       # the store had no memory that could be freed
    REASON_PURGED = 35        # a purge came while it was fetched
    REASON_BODY = 36          # its body broke off
    REASON_IDENTITY = 37      # it varies by who asks
    REASON_END = 38


cdef inline const char* reason_word(int reason) noexcept nogil:
    if reason == REASON_TOO_LARGE:
        return "too-large"
    if reason == REASON_VARIANT:
        return "vary-too-long"
    if reason == REASON_NO_ROOM:
        return "no-room"
    if reason == REASON_PURGED:
        return "purged-meanwhile"
    if reason == REASON_BODY:
        return "body-broke-off"
    if reason == REASON_IDENTITY:
        return "varies-by-identity"
    return store_word(reason)
