"""core/events: nothing that was told is lost. The engine's end bumps a node's number and pushes it, or finds it queued; the control
plane's end takes all, and at the last must have seen the last number of every node."""
from libc.stdint cimport uint64_t
from proxyd_ext.core.events cimport EventNode, EventQueue, event_done, event_push, events_destroy, events_init, events_take
from proxyd_ext.core.shim cimport INVARIANT, load_acquire_u64, store_release_u64
from proxyd_stress.threads cimport run_both, sched_yield

cdef enum:
    NODES = 5


ctypedef struct Shared:
    EventQueue queue
    EventNode[NODES] nodes
    uint64_t[NODES] told     # what the engine last said of each node
    uint64_t rounds
    uint64_t pushed
    uint64_t found_queued
    uint64_t taken


cdef void* tell(void* argument) noexcept nogil:
    cdef Shared* shared = <Shared*>argument
    cdef uint64_t i
    cdef int at
    for i in range(shared.rounds):
        at = i % NODES
        store_release_u64(&shared.told[at], i + 1)
        if event_push(&shared.queue, &shared.nodes[at]):
            shared.pushed += 1
        else:
            shared.found_queued += 1
        if i % 16 == 0:
            sched_yield()
    return NULL


cdef void* listen(void* argument) noexcept nogil:
    cdef Shared* shared = <Shared*>argument
    cdef uint64_t[NODES] seen
    cdef EventNode* node
    cdef EventNode* following
    cdef bint[NODES] closed
    cdef int at, open_ = NODES
    for at in range(NODES):
        seen[at], closed[at] = 0, False
    while open_:
        node = events_take(&shared.queue)
        if node == NULL:
            sched_yield()
        while node != NULL:
            following = node.next
            at = node.kind
            event_done(node)
            INVARIANT(load_acquire_u64(&shared.told[at]) >= seen[at])
            seen[at] = load_acquire_u64(&shared.told[at])
            shared.taken += 1
            if seen[at] > shared.rounds - NODES and not closed[at]:
                closed[at] = True
                open_ -= 1
            node = following
    return NULL


def run(rounds: int) -> dict[str, int]:
    cdef Shared shared
    cdef EventNode* node
    cdef int at
    INVARIANT(rounds % NODES == 0)
    INVARIANT(events_init(&shared.queue) == 0)
    shared.rounds, shared.pushed, shared.found_queued, shared.taken = rounds, 0, 0, 0
    for at in range(NODES):
        shared.nodes[at].kind, shared.nodes[at].queued, shared.nodes[at].next = at, 0, NULL
        shared.told[at] = 0
    with nogil:
        run_both(tell, listen, &shared)
    # A node whose last word was read early may stand in the queue once more.
    node = events_take(&shared.queue)
    while node != NULL:
        shared.taken += 1
        node = node.next
    INVARIANT(shared.taken == shared.pushed)
    events_destroy(&shared.queue)
    return {"told": rounds, "pushed": shared.pushed, "joined": shared.found_queued}
