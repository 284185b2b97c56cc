# cython: cdivision=True
"""Timers (see timer.pxd)."""
from libc.stdlib cimport free, realloc
from proxyd_ext.core.shim cimport INVARIANT


cdef void timers_init(Timers* timers) noexcept nogil:
    timers.heap = NULL
    timers.size = 0
    timers.cap = 0


cdef void timers_destroy(Timers* timers) noexcept nogil:
    free(timers.heap)
    timers.heap = NULL
    timers.cap = 0
    timers.size = 0


cdef bint timers_reserve(Timers* timers, int32_t count) noexcept nogil:
    cdef Timer** grown
    cdef int32_t cap = timers.cap
    if count <= cap:
        return True
    if cap == 0:
        cap = 64
    while cap < count:
        cap *= 2
    grown = <Timer**>realloc(timers.heap, cap * sizeof(Timer*))
    if grown == NULL:
        return False
    timers.heap = grown
    timers.cap = cap
    return True


cdef void timer_init(Timer* timer, void* owner, TimerFire fire) noexcept nogil:
    timer.deadline_ms = TIMER_OFF_MS
    timer.place_ms = TIMER_OFF_MS
    timer.at = -1
    timer.owner = owner
    timer.fire = fire


cdef void _up(Timers* timers, int32_t at, Timer* timer) noexcept nogil:
    cdef int32_t parent
    while at > 0:
        parent = (at - 1) >> 2
        if timers.heap[parent].place_ms <= timer.place_ms:
            break
        timers.heap[at] = timers.heap[parent]
        timers.heap[at].at = at
        at = parent
    timers.heap[at] = timer
    timer.at = at


cdef void _down(Timers* timers, int32_t at, Timer* timer) noexcept nogil:
    cdef int32_t child, best, end
    while True:
        child = 4 * at + 1
        if child >= timers.size:
            break
        end = child + 4
        if end > timers.size:
            end = timers.size
        best = child
        child += 1
        while child < end:
            if timers.heap[child].place_ms < timers.heap[best].place_ms:
                best = child
            child += 1
        if timers.heap[best].place_ms >= timer.place_ms:
            break
        timers.heap[at] = timers.heap[best]
        timers.heap[at].at = at
        at = best
    timers.heap[at] = timer
    timer.at = at


cdef void timer_place(Timers* timers, Timer* timer) noexcept nogil:
    timer.place_ms = timer.deadline_ms
    if timer.at < 0:
        # Every timer's owner reserved its place when it was born (timers_reserve), so there is room.
        INVARIANT(timers.size < timers.cap)
        timer.at = timers.size
        timers.size += 1
    _up(timers, timer.at, timer)


cdef void timer_remove(Timers* timers, Timer* timer) noexcept nogil:
    cdef int32_t at = timer.at
    cdef Timer* last
    timer.deadline_ms = TIMER_OFF_MS
    if at < 0:
        return
    timer.at = -1
    timers.size -= 1
    if at == timers.size:
        return
    last = timers.heap[timers.size]
    last.at = at
    _up(timers, at, last)
    if last.at == at:
        _down(timers, at, last)


cdef void timers_run(Timers* timers, int64_t now_ms) noexcept nogil:
    cdef Timer* timer
    while timers.size > 0 and timers.heap[0].place_ms <= now_ms:
        timer = timers.heap[0]
        if timer.deadline_ms == TIMER_OFF_MS:
            timer_remove(timers, timer)
        elif timer.deadline_ms > now_ms:
            timer.place_ms = timer.deadline_ms
            _down(timers, 0, timer)
        else:
            timer_remove(timers, timer)
            timer.fire(timer.owner)


cdef int64_t timers_next(Timers* timers) noexcept nogil:
    if timers.size == 0:
        return TIMER_OFF_MS
    return timers.heap[0].place_ms
