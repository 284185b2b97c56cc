"""Regular expressions of our own: compiled by the control plane, matched on the data plane in linear time, without the GIL or the heap.

Two forms of one search.  Usually the whole deterministic automaton is built ahead (DFA): a byte costs one look into a table.  Where it
would grow out of bounds, the nondeterministic one is simulated on sets of places, as bits in a few words on the stack: a byte costs
NFA_PLACES steps at most.  So the most that a search can cost is known when the config is read, whatever texts come.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from proxyd_ext.core.slice cimport Slice


cdef enum:
    DFA_STATES = 2000         # beyond it the places are simulated
    DFA_CELLS = 131_072       # states times byte classes: 256 KiB
    NFA_WORDS = 4
    NFA_PLACES = 64 * NFA_WORDS

    DFA_DEAD = 0              # nothing that follows can match
    DFA_MATCH = 1             # it has matched, whatever follows


ctypedef struct RegexProgram:
    uint8_t[256] byte_class   # bytes that the pattern does not tell apart have one class
    uint32_t class_count
    bint empty                # it occurs in the empty text
    # DFA
    uint16_t* next            # [state * class_count + class]; NULL: there is none, the places are simulated
    uint8_t* at_end           # [state] whether a text that ends here matches
    uint16_t start
    uint32_t state_count
    # NFA
    uint64_t* follow          # [place][NFA_WORDS] the places behind each
    uint64_t* reads           # [class][NFA_WORDS] the places that read such a byte
    uint64_t[NFA_WORDS] first   # places before the first byte
    uint64_t[NFA_WORDS] later   # places that every further byte begins anew
    uint64_t[NFA_WORDS] ends    # places that match at the end


# Does the pattern occur in `text`?  *steps grows by the looks into tables that it took: at most text.size (DFA), or text.size * NFA_PLACES.
cdef bint regex_search(const RegexProgram* program, Slice text, uint64_t* steps) noexcept nogil


cdef class Regex:
    cdef RegexProgram program
    cdef readonly str pattern
    cdef readonly object prefix
    cdef int _build_dfa(self, nfa, list reads_of, int states_max) except -1
    cdef int _finish_dfa(self, list at_end) except -1
    cdef int _build_nfa(self, nfa, list reads_of) except -1
