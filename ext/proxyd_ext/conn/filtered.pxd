"""An exchange and the filters of its route: running their chain, asking the control plane on their behalf, showing them a server's
answer."""
from libc.stdint cimport uint8_t
from proxyd_ext.conn.model cimport Exchange
from proxyd_ext.filter.state cimport FilterChange, FilterState
from proxyd_ext.http1.head cimport Head


cdef enum:
    NOTES_ROOM = 1024         # bytes that filtered_notes writes at most

    SHOW_NONE = 0             # nobody wants to see the answer (any more)
    SHOW_ASKED = 1            # a filter has been asked: wait for its word


# Run the chain from where it stands: CHAIN_*, or -FAULT_*.
cdef int filtered_run(Exchange* exchange, Head* head) noexcept nogil
# Ask what the chain waits for (CHAIN_ASK_*).  False: the door is full.
cdef bint filtered_ask(Exchange* exchange, const Head* head, int what) noexcept nogil
# The control plane's word, or that there is none, for the step that asked.
cdef void filtered_hear_change(Exchange* exchange, FilterChange* change) noexcept nogil
cdef void filtered_hear_nothing(Exchange* exchange, bint in_time) noexcept nogil
# What a chain that keeps nothing has decided, for the log.
cdef void filtered_remember(Exchange* exchange, const FilterState* ran) noexcept nogil
# Whether the question that is under way is one about a credential.
cdef bint filtered_wants_verdict(const Exchange* exchange) noexcept nogil
# A filter answers in the server's place.
cdef void filtered_replied(Exchange* exchange) noexcept nogil
# Show a server's answer to the next filter that wants to see it: SHOW_*, or -FAULT_* (it is out of order, and fails closed).
cdef int filtered_show(Exchange* exchange, const Head* head) noexcept nogil
# What a filter changes in a server's answer is written into the origin's buffer, where its head is parsed anew.  False: no memory.
cdef bint filtered_change_answer(Exchange* exchange, const Head* head, const FilterChange* change, int status) noexcept nogil
# The filter that was shown the answer has no word: whether it fails open.
cdef bint filtered_show_failed(Exchange* exchange, bint in_time) noexcept nogil
# The state that a fetch behind needs to show its answer.  False: no memory.
cdef bint filtered_begin_behind(Exchange* exchange) noexcept nogil
cdef void filtered_end(Exchange* exchange) noexcept nogil
# "policy:decision,..." for the log; returns the bytes written.
cdef int filtered_notes(const Exchange* exchange, uint8_t* out) noexcept nogil
