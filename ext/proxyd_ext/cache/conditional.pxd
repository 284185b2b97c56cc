"""Conditional requests against a stored answer (RFC 9110 §13, RFC 9111 §4.3.2)."""
from libc.stdint cimport int64_t
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


cdef enum:
    COND_NONE = 0            # no condition, or it asks for the whole: answer with it (or the range asked for)
    COND_NOT_MODIFIED = 1    # 304
    COND_FAILED = 2          # 412
    COND_ORIGIN = 3          # If-Match, If-Unmodified-Since: not for a cache to answer (RFC 9111 §4.3.2); ask the server


ctypedef struct Validators:
    Slice etag               # value of ETag; empty: none
    int64_t last_modified_s  # POSIX seconds; -1: none, or no date
    int64_t date_s           # its Date, or when it was received


# The validators of a stored or received answer.  Slices point into the head.
cdef void read_validators(const Head* answer, int64_t received_s, Validators* out) noexcept nogil

# What a request for a stored 200 has to be answered with, in the order of RFC 9110 §13.2.2.  Malformed conditions are ignored, but a
# malformed If-Match is false.  `origin`: we are the server itself (cache-aside): If-Match and If-Unmodified-Since are ours to judge.
# Of other stored statuses no condition is to be evaluated (§13.2.1): do not ask.
cdef int evaluate_conditions(const Head* request, const Validators* stored, bint origin, int64_t now_s) noexcept nogil

# Does Range count (§13.1.5)?  True without If-Range, or when it names this very answer: by a strong entity-tag, or by the exact
# Last-Modified, if that is a minute before Date (§8.8.2.2: then it can be taken for strong).
cdef bint if_range_matches(const Head* request, const Validators* stored, int64_t now_s) noexcept nogil

# May a 304 that came for this stored answer freshen it (RFC 9111 §4.3.4)?  A 304 without validators may, one with others may not.
cdef bint freshens(const Validators* stored, const Head* not_modified, int64_t now_s) noexcept nogil

# Are both well-formed entity-tags, and equal (RFC 9110 §8.8.3.2)?  Strong comparison: no weak one equals anything.
cdef bint etags_equal(Slice a, Slice b, bint strong) noexcept nogil
