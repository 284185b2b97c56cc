"""Waking who waits in the cache, on whatever engine it lives: an intrusive node of the wake-ups door (design.md §2.5).

Whoever wakes promises it under the lock that guards the waiting, and rings after the lock is given back, because ringing may be a system
call. Between the two the node must not die: its owner, who leaves meanwhile, sees the promise and stays in memory until the ring has come
(conn/cached). One ring stands for all that has happened until it is heard.
"""
from proxyd_ext.core.events cimport EventNode, EventQueue, event_push
from proxyd_ext.core.shim cimport fetch_or_int, load_acquire_int, store_release_int


cdef struct Alarm:
    EventNode node
    EventQueue* queue         # of the owner's engine
    Alarm* next               # among those that somebody has promised to ring
    int promised


# Add to the list of those to ring.  The caller holds the lock under which the owner waits.
cdef inline void alarm_promise(Alarm* alarm, Alarm** todo) noexcept nogil:
    if not fetch_or_int(&alarm.promised, 1):
        alarm.next = todo[0]
        todo[0] = alarm


# Ring all of the list; no lock is held.
cdef inline void alarms_ring(Alarm* todo) noexcept nogil:
    cdef Alarm* following
    while todo != NULL:
        following = todo.next     # once rung it may be gone
        event_push(todo.queue, &todo.node)
        todo = following


# On the owner's engine: heard.  What happens from now on rings again.
cdef inline void alarm_heard(Alarm* alarm) noexcept nogil:
    store_release_int(&alarm.promised, 0)


cdef inline bint alarm_is_promised(Alarm* alarm) noexcept nogil:
    return load_acquire_int(&alarm.promised) != 0


# By the owner itself: to go on in the next turn.
cdef inline void alarm_ring_self(Alarm* alarm) noexcept nogil:
    if not fetch_or_int(&alarm.promised, 1):
        event_push(alarm.queue, &alarm.node)
