"""Exchanges that wait for somebody else: for the control plane (the consult door), or for room on a server (the queue of an upstream). Both
come back by the wake-ups door (design.md §2.5).

A waiting exchange holds a slot. The slot carries the nodes of both doors, so neither can refuse: what is bounded is the number of slots.
The slot's memory lives as long as its engine. The answer to a consult names (slot, generation): a late one finds a newer generation, is
dropped, and counted. A wake-up for room only says that the slot may look again; one that comes late finds nobody who was granted room.
"""
from libc.stdint cimport int32_t, uint32_t, uint64_t
from proxyd_ext.conn.model cimport Context, Exchange, WaitSlot
from proxyd_ext.core.slice cimport Slice


ctypedef struct Answer:
    # The control plane's answer on its way; head and body stand behind it in the same block.
    uint32_t generation
    uint32_t status
    size_t head_size
    size_t body_size


ctypedef struct WaitQuestion:
    # What a consult asks about, on its way to the control plane; the texts stand behind it in the same block.
    uint32_t generation
    int kind                  # CONSULT_*
    bint has_variant
    size_t text_size
    size_t variant_size


cdef bint waits_init(Context* context) noexcept nogil                       # False: no memory or descriptor
cdef void waits_destroy(Context* context) noexcept nogil
# Take a slot and ask the control plane.  False: all slots are taken (counted).
cdef bint consult_ask(Exchange* exchange, int kind) noexcept nogil
# The same with a text, and maybe a second one.  False also without memory.
cdef bint consult_ask_about(Exchange* exchange, int kind, Slice text, bint has_variant, Slice variant) noexcept nogil
# Ask the second cache tier for the key of the exchange's use.
cdef bint lookup_ask(Exchange* exchange) noexcept nogil
# Wait for room on the exchange's upstream.  False: too many wait there, or all slots are taken.
cdef bint wait_for_room(Exchange* exchange) noexcept nogil
# Woken in vain: somebody was faster.  Wait on, in the first place.
cdef void wait_again(Exchange* exchange) noexcept nogil
# A server was found: the slot and the place in the queue are given back.
cdef void wait_served(Exchange* exchange) noexcept nogil
# Give the slot back: answered, timed out, or the client went away.
cdef void wait_end(Exchange* exchange) noexcept nogil
# The exchange that waits for room at this slot and was woken; NULL: it has gone.
cdef Exchange* wait_woken(WaitSlot* slot) noexcept nogil
# The exchange that (slot, generation) names, or NULL when it no longer waits (counted as late).
cdef Exchange* wait_find(Context* context, WaitSlot* slot, uint32_t generation) noexcept nogil
# From the control plane's thread: leave an answer at a slot and wake its engine.  The answer is the slot's from then on.
cdef void wait_wake(Context* context, int32_t slot, Answer* answer) noexcept nogil
