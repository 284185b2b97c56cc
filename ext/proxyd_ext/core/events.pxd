"""Queues of intrusive nodes between threads: the events door (what an engine tells the control plane) and the wake-ups door (design.md
§2.5).

Each node is part of the object that it speaks of and stands in the queue at most once, so the queue is never full and nothing is lost; it
is bounded
by the number of those objects. Any thread may push; one takes all at once.
"""
from libc.stdint cimport uint64_t


cdef enum:
    EVENT_ACK = 1             # the engine took a snapshot
    EVENT_RETIRED = 2         # no exchange of this engine uses a snapshot any more
    EVENT_EJECTED = 3         # a server was ejected by its failures
    EVENT_CONSULT = 4         # an exchange waits for an answer
    EVENT_DRAINED = 5         # the engine has no connection left
    EVENT_STORED = 8          # an answer is in the cache, and the control plane has something to do with it
    EVENT_INVALID = 11        # a method made a URL invalid: the nodes that share the cache are to be told
    EVENT_CACHE = 9           # in an engine's own queue: a use of the cache goes on
    EVENT_FILL = 10           # the same: a fill
    EVENT_WAKE = 6            # in an engine's own queue, the wake-ups door: look at a waiting exchange


ctypedef struct EventNode:
    EventNode* next
    void* subject             # depends on kind
    uint64_t number           # depends on kind
    int kind                  # EVENT_*
    int queued                # 1 while it stands in a queue; set by the engine, cleared by the control plane


ctypedef struct EventQueue:
    EventNode* head           # newest first
    int fd                    # eventfd that wakes the control plane


cdef int events_init(EventQueue* queue) noexcept nogil                       # 0 or -errno
cdef void events_destroy(EventQueue* queue) noexcept nogil
cdef bint event_push(EventQueue* queue, EventNode* node) noexcept nogil      # False: it is queued already, and nothing was done
# All, oldest first.  For each: read `next`, call event_done, and only then read what the node says, so that a push in between is not lost.
cdef EventNode* events_take(EventQueue* queue) noexcept nogil
cdef void event_done(EventNode* node) noexcept nogil
