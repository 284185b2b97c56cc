# cython: cdivision=True
"""How the programs of regex.pxd are built and run.  Reading and expanding the pattern is pattern.py's and nfa.py's work.

The search is unanchored by construction: at every byte the places at which the pattern begins come in once more (`later`); a pattern that
begins with ^ has none there, so its search dies as soon as it cannot match any more.  The subset construction (Rabin, Scott 1959) makes
states of sets of places; all sets that hold a match are one state, from which nothing leads away.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport Slice, slice_of

from proxyd_ext.route.nfa import build_nfa
from proxyd_ext.route.pattern import RegexError, literal_prefix, parse_pattern


cdef extern from *:
    """
    #define PXD_LOWEST_BIT(x) __builtin_ctzll(x)
    """
    int PXD_LOWEST_BIT(uint64_t x) noexcept nogil    # x is not 0


cdef enum:
    BUILD_WORDS = 16          # room for PLACES_MAX of nfa.py


cdef bint regex_search(const RegexProgram* program, Slice text, uint64_t* steps) noexcept nogil:
    cdef const uint8_t* at = text.data
    cdef const uint8_t* end = at + text.size
    cdef uint32_t state = program.start
    if text.size == 0:
        return program.empty
    if program.next == NULL:
        return _simulate(program, at, end, steps)
    while at < end and state > DFA_MATCH:
        state = program.next[state * program.class_count + program.byte_class[at[0]]]
        at += 1
    steps[0] += at - text.data
    return program.at_end[state]


cdef bint _simulate(const RegexProgram* program, const uint8_t* at, const uint8_t* end, uint64_t* steps) noexcept nogil:
    cdef uint64_t[NFA_WORDS] now
    cdef uint64_t[NFA_WORDS] then
    cdef uint64_t active, alive = 1, ended = 0
    cdef const uint64_t* reads
    cdef const uint64_t* follow
    cdef int word, i
    memcpy(now, program.first, sizeof(now))
    while at < end and alive and not now[0] & 1:
        reads = program.reads + program.byte_class[at[0]] * NFA_WORDS
        memcpy(then, program.later, sizeof(then))
        for word in range(NFA_WORDS):
            active = now[word] & reads[word]
            while active:
                follow = program.follow + (64 * word + PXD_LOWEST_BIT(active)) * NFA_WORDS
                active &= active - 1
                for i in range(NFA_WORDS):
                    then[i] |= follow[i]
                steps[0] += 1
        alive = 0
        for i in range(NFA_WORDS):
            now[i] = then[i]
            alive |= then[i]
        at += 1
    for i in range(NFA_WORDS):
        ended |= now[i] & program.ends[i]
    return now[0] & 1 != 0 or (at == end and ended != 0)


# ---------------------------------------------------------------- build

cdef uint64_t* _words(sets, int words) except NULL:
    """Sets of places as bits in rows of `words` words."""
    cdef uint64_t* out = <uint64_t*>calloc(len(sets) * words, sizeof(uint64_t))
    cdef bytes row
    cdef int number
    if out == NULL:
        raise MemoryError
    for number, places in enumerate(sets):
        row = places.to_bytes(8 * words, "little")
        memcpy(out + number * words, <const char*>row, 8 * words)
    return out


cdef int _store(places, uint64_t* out) except -1:
    cdef bytes row = places.to_bytes(8 * NFA_WORDS, "little")
    memcpy(out, <const char*>row, 8 * NFA_WORDS)
    return 0


cdef void _step(uint64_t* then, const uint64_t* now, const uint64_t* rows, int places, int klass, int classes, int words) noexcept nogil:
    """The places behind those of `now` that read a byte of class `klass`; `rows` as `_build_dfa` lays them out."""
    cdef const uint64_t* reads = rows + (places + klass) * words
    cdef const uint64_t* follow
    cdef uint64_t active
    cdef int word, i
    memcpy(then, rows + (places + classes) * words, words * sizeof(uint64_t))
    for word in range(words):
        active = now[word] & reads[word]
        while active:
            follow = rows + (64 * word + PXD_LOWEST_BIT(active)) * words
            active &= active - 1
            for i in range(words):
                then[i] |= follow[i]


cdef int _state_of(bytes places, dict number_of, list sets) except -1:
    """The state that stands for a set of places; a new one if it has not been met."""
    known = number_of.get(places)
    if known is None:
        if places[0] & 1:
            known = DFA_MATCH
        elif not any(places):
            known = DFA_DEAD
        else:
            known = len(sets)
            sets.append(places)
        number_of[places] = known
    return known


cdef class Regex:
    """A compiled pattern (see regex.pyi)."""

    def __cinit__(self, str pattern not None, *, bint ignore_case=False, int dfa_states=DFA_STATES):
        cdef const uint8_t* bits
        cdef bytes row
        cdef int at
        tree = parse_pattern(pattern, ignore_case=ignore_case)
        nfa = build_nfa(tree)
        self.pattern = pattern
        self.prefix = literal_prefix(tree)
        self.program.empty = nfa.empty
        classes = _byte_classes(nfa.reads)
        self.program.class_count = len(classes)
        for number, members in enumerate(classes):
            row = members.to_bytes(32, "little")
            bits = row
            for at in range(256):
                if bits[at >> 3] >> (at & 7) & 1:
                    self.program.byte_class[at] = number
        reads_of = [sum([1 << place for place, reads in enumerate(nfa.reads) if reads & members]) for members in classes]
        if self._build_dfa(nfa, reads_of, min(dfa_states, DFA_STATES)):
            return
        if len(nfa.reads) > NFA_PLACES:
            raise RegexError(0, "the pattern is too large: it would need too many states")
        self._build_nfa(nfa, reads_of)

    def __dealloc__(self):
        free(self.program.next)
        free(self.program.at_end)
        free(self.program.follow)
        free(self.program.reads)

    cdef int _build_dfa(self, nfa, list reads_of, int states_max) except -1:
        """1, or 0 where it would have too many states."""
        cdef int words = (len(nfa.reads) + 63) // 64
        cdef int classes = len(reads_of)
        cdef int state = 2, klass, limit = min(states_max, DFA_CELLS // classes), room = 0
        cdef uint64_t[BUILD_WORDS] now
        cdef uint64_t[BUILD_WORDS] then
        cdef uint64_t* rows              # follow, reads, later
        cdef uint16_t* grown
        cdef bytes key
        cdef dict number_of = {}         # set of places -> state
        cdef list sets = [b"", b""]      # and the other way round; DFA_DEAD and DFA_MATCH stand for many
        INVARIANT(words <= BUILD_WORDS)
        if states_max == 0:
            return 0
        self.program.start = _state_of(nfa.start.to_bytes(8 * words, "little"), number_of, sets)
        rows = _words([*nfa.follow, *reads_of, nfa.later], words)
        try:
            while state < len(sets):
                if len(sets) > limit:
                    free(self.program.next)
                    self.program.next = NULL
                    return 0
                if len(sets) > room:
                    room = 2 * len(sets)
                    grown = <uint16_t*>realloc(self.program.next, room * classes * sizeof(uint16_t))
                    if grown == NULL:
                        raise MemoryError
                    self.program.next = grown
                key = sets[state]
                memcpy(now, <const char*>key, 8 * words)
                for klass in range(classes):
                    _step(then, now, rows, len(nfa.reads), klass, classes, words)
                    key = (<const char*>then)[:8 * words]
                    self.program.next[state * classes + klass] = _state_of(key, number_of, sets)
                state += 1
        finally:
            free(rows)
        self._finish_dfa([int.from_bytes(places, "little") & nfa.ends != 0 for places in sets])
        return 1

    cdef int _finish_dfa(self, list at_end) except -1:
        cdef int state, klass, count = len(at_end)
        cdef int classes = self.program.class_count
        cdef uint16_t* next = <uint16_t*>realloc(self.program.next, count * classes * sizeof(uint16_t))
        if next == NULL:
            raise MemoryError
        self.program.next = next
        self.program.at_end = <uint8_t*>calloc(count, 1)
        if self.program.at_end == NULL:
            raise MemoryError
        for klass in range(classes):
            next[DFA_DEAD * classes + klass] = DFA_DEAD
            next[DFA_MATCH * classes + klass] = DFA_MATCH
        for state in range(count):
            self.program.at_end[state] = state == DFA_MATCH or at_end[state]
        self.program.state_count = count
        return 0

    cdef int _build_nfa(self, nfa, list reads_of) except -1:
        self.program.follow = _words(nfa.follow, NFA_WORDS)
        self.program.reads = _words(reads_of, NFA_WORDS)
        _store(nfa.start, self.program.first)
        _store(nfa.later, self.program.later)
        _store(nfa.ends, self.program.ends)
        return 0

    @property
    def states(self) -> int:
        return self.program.state_count

    def search(self, bytes text not None) -> bool:
        cdef uint64_t steps = 0
        return regex_search(&self.program, slice_of(<const uint8_t*><const char*>text, len(text)), &steps)

    def steps(self, bytes text not None) -> int:
        cdef uint64_t steps = 0
        regex_search(&self.program, slice_of(<const uint8_t*><const char*>text, len(text)), &steps)
        return steps


def _byte_classes(reads) -> list[int]:
    """Sets of bytes that no place tells apart; together they are all bytes."""
    classes = [(1 << 256) - 1]
    for of in set(reads):
        classes = [part for members in classes for part in (members & of, members & ~of) if part]
    return classes
