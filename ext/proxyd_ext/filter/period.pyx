# cython: cdivision=True
"""Calendar periods (see period.pxd). Dates by counting in eras of 400 years that begin on the first of March, where the leap day is the
last of its year (Hinnant, "chrono-compatible low-level date algorithms")."""
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.filter.rules cimport PERIOD_DAY, PERIOD_MONTH, PERIOD_WEEK

cdef enum:
    DAY_S = 86400
    ERA_DAYS = 146097         # 400 years
    TO_MARCH_0 = 719468       # days from 0000-03-01 to 1970-01-01


cdef int64_t _month_of(int64_t days) noexcept nogil:
    """year * 12 + month - 1 of a day."""
    cdef int64_t since = days + TO_MARCH_0
    cdef int64_t era = since // ERA_DAYS
    cdef int64_t of_era = since - era * ERA_DAYS
    cdef int64_t year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    cdef int64_t of_year = of_era - (365 * year + year // 4 - year // 100)
    cdef int64_t month = (5 * of_year + 2) // 153          # 0: March
    return (era * 400 + year) * 12 + month + 2


cdef int64_t _first_day(int64_t number) noexcept nogil:
    """The first day of a month, as days since 1970-01-01."""
    cdef int64_t since = number - 2                        # months since March of the year 0
    cdef int64_t year = since // 12
    cdef int64_t month = since - year * 12
    cdef int64_t era = year // 400
    cdef int64_t of_era = year - era * 400
    return era * ERA_DAYS + of_era * 365 + of_era // 4 - of_era // 100 + (153 * month + 2) // 5 - TO_MARCH_0


cdef uint64_t period_of(int period, int64_t wall_s) noexcept nogil:
    cdef int64_t days = wall_s // DAY_S
    if period == PERIOD_DAY:
        return days
    if period == PERIOD_WEEK:
        return (days + 3) // 7
    INVARIANT(period == PERIOD_MONTH)
    return _month_of(days)


cdef int64_t period_end_s(int period, int64_t wall_s) noexcept nogil:
    cdef int64_t days = wall_s // DAY_S
    if period == PERIOD_DAY:
        return (days + 1) * DAY_S
    if period == PERIOD_WEEK:
        return (((days + 3) // 7 + 1) * 7 - 3) * DAY_S
    INVARIANT(period == PERIOD_MONTH)
    return _first_day(_month_of(days) + 1) * DAY_S


PERIODS = {"day": PERIOD_DAY, "week": PERIOD_WEEK, "month": PERIOD_MONTH}


def period_facts(period: str, wall_s: int) -> tuple[int, int]:
    """(number of the period, the second at which the next begins)."""
    return period_of(PERIODS[period], wall_s), period_end_s(PERIODS[period], wall_s)
