"""Exchanges that wait for somebody else: for the control plane (the consult door), or for room on a server (the queue of an upstream). Both
come back by the wake-ups door (design.md §2.5).

A waiting exchange holds a slot. The slot carries the nodes of both doors, so neither can refuse: what is bounded is the number of slots.
The slot's memory lives as long as its engine. The answer to a consult names (slot, generation): a late one finds a newer generation, is
dropped, and counted. A wake-up for room only says that the slot may look again; one that comes late finds nobody who was granted room.
"""
from libc.stdint cimport int32_t, uint32_t, uint64_t
from proxyd_ext.auth.verdict cimport VerdictData
from proxyd_ext.conn.model cimport Context, Exchange, WaitSlot
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.filter.state cimport FilterChange


cdef enum:
    ANSWER_CONTENT = 0        # what the client gets: to a consult, or of a filter that answers itself
    ANSWER_PROCEED = 1        # look again
    ANSWER_VERDICT = 2        # about a credential
    ANSWER_CHANGE = 3         # of a filter: go on, with these changes
    ANSWER_FAIL = 4           # nobody could say


ctypedef struct Answer:
    # The control plane's answer on its way; head and body stand behind it in the same block.
    uint32_t generation
    int kind                  # ANSWER_*
    uint32_t status           # of ANSWER_CHANGE: that of the server's answer; 0: as it is
    VerdictData* verdict      # held
    FilterChange* change      # a block of its own
    size_t head_size
    size_t body_size


ctypedef struct WaitQuestion:
    # What a consult asks about, on its way to the control plane; the texts stand behind it in the same block.
    uint32_t generation
    int kind                  # CONSULT_*
    bint has_variant
    int subject               # whom of the control plane it is for: Verdicts.id, Hooks.id
    uint64_t digest_high      # of the credential
    uint64_t digest_low
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
# A question with room for `size` bytes of text behind it; NULL: no memory.  It is the caller's until it is asked.
cdef WaitQuestion* question_new(int kind, size_t size) noexcept nogil
# Ask it.  False: all slots are taken (counted), and it has been freed.
cdef bint question_ask(Exchange* exchange, WaitQuestion* question) noexcept nogil
# Wait for a place of the route's lane: GATE_WAITS, GATE_IN (there was one by now), or GATE_FULL: too many wait, or all slots are taken.
cdef int wait_for_place(Exchange* exchange) noexcept nogil
# What the exchange that waits at this slot has been told, once: GATE_GRANTED (the place is its own now) or GATE_SHED; 0: nothing.
cdef int wait_place_told(WaitSlot* slot) noexcept nogil
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
# Whether the exchange that waits at this slot has lost its place in the queue of an upstream to one of a higher class.
cdef bint wait_shed(const WaitSlot* slot) noexcept nogil
# Asked once by an exchange that has found room: whether it has waited too long to use it.
cdef bint wait_sheds(Exchange* exchange) noexcept nogil
# The exchange that (slot, generation) names, or NULL when it no longer waits (counted as late).
cdef Exchange* wait_find(Context* context, WaitSlot* slot, uint32_t generation) noexcept nogil
cdef void answer_free(Answer* answer) noexcept nogil
# From the control plane's thread: leave an answer at a slot and wake its engine.  The answer is the slot's from then on.
cdef void wait_wake(Context* context, int32_t slot, Answer* answer) noexcept nogil
