"""Timers: a 4-ary heap of lazily kept deadlines.

Moving a deadline later, or switching it off, is one store: the heap keeps the old place, and when that comes up the timer is put where it
belongs.
A connection's timers move later with almost every event and fire almost never, so the heap is touched about once per timeout period per
connection.
"""
from libc.stdint cimport int32_t, int64_t


cdef enum:
    TIMER_OFF_MS = 0x7FFFFFFFFFFFFFFF


ctypedef void (*TimerFire)(void* owner) noexcept nogil


ctypedef struct Timer:
    int64_t deadline_ms   # when it is due; TIMER_OFF_MS: never
    int64_t place_ms      # the time under which it stands in the heap; at most deadline_ms
    int32_t at            # index in the heap; -1: not in it
    void* owner
    TimerFire fire        # called with the owner; may set or remove any timer


ctypedef struct Timers:
    Timer** heap
    int32_t size
    int32_t cap


cdef void timers_init(Timers* timers) noexcept nogil
cdef void timers_destroy(Timers* timers) noexcept nogil
cdef bint timers_reserve(Timers* timers, int32_t count) noexcept nogil   # room for that many; False: out of memory
cdef void timer_init(Timer* timer, void* owner, TimerFire fire) noexcept nogil
cdef void timer_place(Timers* timers, Timer* timer) noexcept nogil       # slow half of timer_set
cdef void timer_remove(Timers* timers, Timer* timer) noexcept nogil      # before the owner's memory goes
cdef void timers_run(Timers* timers, int64_t now_ms) noexcept nogil      # fire all that are due
cdef int64_t timers_next(Timers* timers) noexcept nogil                  # when to look again, TIMER_OFF_MS: no timer


cdef inline void timer_set(Timers* timers, Timer* timer, int64_t deadline_ms) noexcept nogil:
    timer.deadline_ms = deadline_ms
    if timer.at < 0 or deadline_ms < timer.place_ms:
        timer_place(timers, timer)


cdef inline void timer_off(Timer* timer) noexcept nogil:
    timer.deadline_ms = TIMER_OFF_MS


cdef inline void timer_after(Timers* timers, Timer* timer, int64_t now_ms, int64_t ms) noexcept nogil:
    """Due `ms` from now; 0 means no limit: off."""
    if ms > 0:
        timer_set(timers, timer, now_ms + ms)
    else:
        timer_off(timer)
