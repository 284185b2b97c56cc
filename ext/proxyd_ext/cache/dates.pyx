# cython: cdivision=True
"""HTTP-date (see dates.pxd).  The length tells IMF-fixdate and asctime; of what is left, RFC 850's day names vary in length."""
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from proxyd_ext.core.slice cimport Slice, ascii_lower, slice_of
from proxyd_ext.http1.head cimport Head, head_field


cdef enum:
    DAY_S = 86400
    FIFTY_YEARS = 50


cdef int64_t _days_from_civil(int64_t year, int month, int day) noexcept nogil:
    """Days since 1970-01-01 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms"); month 1..12, year >= 0."""
    cdef int64_t y = year - (1 if month <= 2 else 0)
    cdef int64_t era = (y if y >= 0 else y - 399) // 400
    cdef int64_t year_of_era = y - era * 400
    cdef int64_t day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


cdef inline int _days_of(int64_t year, int month) noexcept nogil:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


cdef inline bint _is(const uint8_t* p, const char* low, size_t n) noexcept nogil:
    """Is p[0:n] the text `low` (lower case) in any case?"""
    cdef size_t i
    for i in range(n):
        if ascii_lower(p[i]) != <uint8_t>low[i]:
            return False
    return True


cdef inline int _digits(const uint8_t* p, int n) noexcept nogil:
    """The number of n digits, or -1."""
    cdef int i, value = 0
    for i in range(n):
        if not c'0' <= p[i] <= c'9':
            return -1
        value = value * 10 + p[i] - c'0'
    return value


cdef inline int _month(const uint8_t* p) noexcept nogil:
    """1..12 of three letters; 0: none."""
    cdef int i
    for i in range(12):
        if _is(p, <const char*>b"janfebmaraprmayjunjulaugsepoctnovdec" + 3 * i, 3):
            return i + 1
    return 0


cdef inline bint _is_day(const uint8_t* p) noexcept nogil:
    cdef int i
    for i in range(7):
        if _is(p, <const char*>b"montuewedthufrisatsun" + 3 * i, 3):
            return True
    return False


cdef inline int _long_day(Slice text) noexcept nogil:
    """The size of the day's long name at the front; 0: none."""
    cdef const char* rest
    cdef int n
    if text.size < 9:
        return 0
    if _is(text.data, "wed", 3):
        rest, n = "nesday", 6
    elif _is(text.data, "thu", 3):
        rest, n = "rsday", 5
    elif _is(text.data, "sat", 3):
        rest, n = "urday", 5
    elif _is(text.data, "tue", 3):
        rest, n = "sday", 4
    elif _is_day(text.data):
        rest, n = "day", 3
    else:
        return 0
    return 3 + n if _is(text.data + 3, rest, n) else 0


cdef inline int _time_of_day(const uint8_t* p) noexcept nogil:
    """Seconds of "hh:mm:ss"; -1: none.  A leap second is the first of the next minute."""
    cdef int hour = _digits(p, 2), minute = _digits(p + 3, 2), second = _digits(p + 6, 2)
    if p[2] != c':' or p[5] != c':' or not 0 <= hour <= 23 or not 0 <= minute <= 59 or not 0 <= second <= 60:
        return -1
    return hour * 3600 + minute * 60 + second


cdef inline int64_t _seconds(int64_t year, int month, int day, int time) noexcept nogil:
    cdef int64_t at
    if month == 0 or time < 0 or day < 1 or day > _days_of(year, month):
        return -1
    at = _days_from_civil(year, month, day) * DAY_S + time
    return at if at > 0 else 0


cdef int64_t _full_year(int year, int month, int day, int64_t now_s) noexcept nogil:
    """The last year with these two digits whose date is at most 50 years from now (RFC 9110 §5.6.7)."""
    cdef int64_t full = 9900 + year
    while full >= 100 and _days_from_civil(full - FIFTY_YEARS, month, day) * DAY_S > now_s:
        full -= 100
    return full


cdef int64_t _rfc850(Slice text, int64_t now_s) noexcept nogil:
    """day-name-l "," SP DIGIT DIGIT "-" month "-" DIGIT DIGIT SP time-of-day SP "GMT"."""
    cdef int n = _long_day(text)
    cdef const uint8_t* p = text.data + n
    cdef int day, year, month
    if n == 0 or text.size != <size_t>n + 24 or not _is(p, ", ", 2) or p[4] != c'-' or p[8] != c'-' or not _is(p + 11, " ", 1):
        return -1
    day, month, year = _digits(p + 2, 2), _month(p + 5), _digits(p + 9, 2)
    if day < 1 or month == 0 or year < 0 or not _is(p + 20, " gmt", 4):
        return -1
    return _seconds(_full_year(year, month, day, now_s), month, day, _time_of_day(p + 12))


cdef int64_t parse_http_date(Slice text, int64_t now_s) noexcept nogil:
    cdef const uint8_t* p = text.data
    cdef int day, year
    if text.size == 29 and p[3] == c',':
        # IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
        day, year = _digits(p + 5, 2), _digits(p + 12, 4)
        if not _is_day(p) or p[4] != c' ' or p[7] != c' ' or p[11] != c' ' or year < 0 or p[16] != c' ' or not _is(p + 25, " gmt", 4):
            return -1
        return _seconds(year, _month(p + 8), day, _time_of_day(p + 17))
    elif text.size == 24 and p[3] == c' ':
        # asctime: Sun Nov  6 08:49:37 1994
        day, year = _digits(p + 8, 2) if p[8] != c' ' else _digits(p + 9, 1), _digits(p + 20, 4)
        if not _is_day(p) or p[7] != c' ' or p[10] != c' ' or p[19] != c' ' or year < 0:
            return -1
        return _seconds(year, _month(p + 4), day, _time_of_day(p + 11))
    return _rfc850(text, now_s)


cdef int64_t head_date(const Head* head, int field_id, int64_t now_s) noexcept nogil:
    return parse_http_date(head_field(head, field_id), now_s)


# ---- for tests and tools

def http_date_seconds(bytes text not None, int64_t now_s=0) -> int:
    """parse_http_date of a block of exactly that size."""
    cdef size_t size = len(text)
    cdef uint8_t* block = <uint8_t*>malloc(size)
    cdef int64_t at
    if block == NULL and size:
        raise MemoryError
    if size:
        memcpy(block, <const uint8_t*>text, size)
    with nogil:
        at = parse_http_date(slice_of(block, size), now_s)
    free(block)
    return at
