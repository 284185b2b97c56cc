"""Appending text to a bounded buffer, for the renderers; inline because a record takes some hundred of these calls.

A buffer that is too small is noted, not overrun: the caller looks at `full` once, at the end of the line.
"""
from libc.stdint cimport int64_t, uint64_t, uint8_t
from libc.string cimport memcpy, strlen
from proxyd_ext.core.slice cimport Slice


cdef extern from "<time.h>" nogil:
    ctypedef long time_t
    struct tm:
        int tm_sec
        int tm_min
        int tm_hour
        int tm_mday
        int tm_mon       # 0..11
        int tm_year      # since 1900
    tm* localtime_r(const time_t* seconds, tm* out)


ctypedef struct Out:
    uint8_t* at      # where the next byte goes
    uint8_t* end     # one behind the buffer
    bint full        # something did not fit, so the text is void


ctypedef struct Moment:
    int64_t day      # days since the epoch
    int year
    int month        # 1..12
    int mday         # 1..31
    int hour
    int minute
    int second
    int us           # microseconds


cdef inline Out out_of(uint8_t* data, size_t size) noexcept nogil:
    cdef Out o
    o.at = data
    o.end = data + size
    o.full = False
    return o


cdef inline void put_bytes(Out* o, const uint8_t* data, size_t size) noexcept nogil:
    if <size_t>(o.end - o.at) < size:
        o.full = True
        return
    if size:
        memcpy(o.at, data, size)
        o.at += size


cdef inline void put_slice(Out* o, Slice s) noexcept nogil:
    put_bytes(o, s.data, s.size)


cdef inline void put_text(Out* o, const char* text) noexcept nogil:
    """A C string; of a literal the compiler knows the length."""
    put_bytes(o, <const uint8_t*>text, strlen(text))


cdef inline void put_byte(Out* o, uint8_t byte) noexcept nogil:
    if o.at == o.end:
        o.full = True
        return
    o.at[0] = byte
    o.at += 1


cdef inline void put_padded(Out* o, uint64_t value, size_t width) noexcept nogil:
    """Decimal, with zeros in front up to `width` digits."""
    cdef uint8_t[24] digits
    cdef size_t at = 24
    while value or width or at == 24:
        at -= 1
        digits[at] = <uint8_t>(c'0' + value % 10)
        value //= 10
        if width:
            width -= 1
    put_bytes(o, &digits[at], 24 - at)


cdef inline void put_uint(Out* o, uint64_t value) noexcept nogil:
    put_padded(o, value, 1)


cdef inline void put_hex(Out* o, uint64_t value, int digits) noexcept nogil:
    """The lowest `digits` hex digits, lower case."""
    while digits > 0:
        digits -= 1
        put_byte(o, (<const char*>b"0123456789abcdef")[(value >> (4 * digits)) & 15])


cdef inline int64_t held_time(int64_t time_us) noexcept nogil:
    """Held to the years 1970..9999 that RFC 3339 can write."""
    return min(max(time_us, <int64_t>0), <int64_t>253_402_300_799_999_999)    # 9999-12-31T23:59:59.999999Z


cdef inline Moment moment_of(int64_t time_us) noexcept nogil:
    """The UTC calendar of microseconds since the epoch (see held_time).

    Counts in years that begin on 1 March, so that a leap day is the last of its year: 146097 days in 400 years, and the months
    from March on have 153 days in five.
    """
    cdef Moment m
    cdef int64_t seconds, days, era, day_of_era, year_of_era, day_of_year, month
    time_us = held_time(time_us)
    seconds = time_us // 1_000_000
    m.us = <int>(time_us % 1_000_000)
    m.day = seconds // 86_400
    seconds %= 86_400
    m.hour = <int>(seconds // 3_600)
    m.minute = <int>(seconds // 60 % 60)
    m.second = <int>(seconds % 60)
    days = m.day + 719_468                  # days from 1 March of the year 0 to the epoch
    era = days // 146_097
    day_of_era = days % 146_097
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153    # 0 = March
    m.mday = <int>(day_of_year - (153 * month + 2) // 5 + 1)
    m.month = <int>(month + 3 if month < 10 else month - 9)
    m.year = <int>(era * 400 + year_of_era + (1 if m.month <= 2 else 0))
    return m


cdef inline Moment local_moment_of(int64_t time_us) noexcept nogil:
    """The same by the clock of this machine's place."""
    cdef Moment m = moment_of(time_us)
    cdef time_t seconds = <time_t>(held_time(time_us) // 1_000_000)
    cdef tm local
    if localtime_r(&seconds, &local) != NULL:
        m.year = local.tm_year + 1900
        m.month = local.tm_mon + 1
        m.mday = local.tm_mday
        m.hour = local.tm_hour
        m.minute = local.tm_min
        m.second = local.tm_sec
    return m


cdef inline void put_month(Out* o, const Moment* m) noexcept nogil:
    put_bytes(o, <const uint8_t*>b"JanFebMarAprMayJunJulAugSepOctNovDec" + 3 * (m.month - 1), 3)


cdef inline void put_clock(Out* o, const Moment* m) noexcept nogil:
    put_padded(o, m.hour, 2)
    put_byte(o, c':')
    put_padded(o, m.minute, 2)
    put_byte(o, c':')
    put_padded(o, m.second, 2)


cdef inline void put_day_and_clock(Out* o, const Moment* m) noexcept nogil:
    """`06/Feb/2009:12:14:14`, as Apache and HAProxy begin a time."""
    put_padded(o, m.mday, 2)
    put_byte(o, c'/')
    put_month(o, m)
    put_byte(o, c'/')
    put_padded(o, m.year, 4)
    put_byte(o, c':')
    put_clock(o, m)


cdef inline void put_rfc3339(Out* o, const Moment* m) noexcept nogil:
    """`2026-11-21T14:02:11.000123Z`, of a time in UTC."""
    put_padded(o, m.year, 4)
    put_byte(o, c'-')
    put_padded(o, m.month, 2)
    put_byte(o, c'-')
    put_padded(o, m.mday, 2)
    put_byte(o, c'T')
    put_clock(o, m)
    put_byte(o, c'.')
    put_padded(o, m.us, 6)
    put_byte(o, c'Z')


cdef inline size_t utf8_step(const uint8_t* data, size_t left, bint* valid) noexcept nogil:
    """Bytes of the character at data[0]; if it is ill-formed, those of the maximal part to be replaced as one (Unicode §3.9, table 3-7).

    left: bytes that there are, at least 1.
    """
    cdef uint8_t first = data[0], low = 0x80, high = 0xBF
    cdef size_t i, follow
    valid[0] = True
    if first < 0x80:
        return 1
    valid[0] = False
    if first < 0xC2 or first > 0xF4:
        return 1
    if first < 0xE0:
        follow = 1
    elif first < 0xF0:
        follow = 2
        if first == 0xE0:
            low = 0xA0       # no overlong forms
        elif first == 0xED:
            high = 0x9F      # no surrogates
    else:
        follow = 3
        if first == 0xF0:
            low = 0x90
        elif first == 0xF4:
            high = 0x8F      # nothing above U+10FFFF
    for i in range(1, follow + 1):
        if i == left or data[i] < low or data[i] > high:
            return i
        low = 0x80
        high = 0xBF
    valid[0] = True
    return follow + 1
