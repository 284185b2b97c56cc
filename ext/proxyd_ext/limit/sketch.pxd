"""The busiest keys of a limit, in little memory: SpaceSaving (Metwally, Agrawal, El Abbadi 2005).

128 counters, each with a key's hash and text. A key without one takes over the smallest and goes on from its count, so that no busy key is
missed: whoever has more than 1/128 of all requests is there, and its count is too high by at most the count that it took over. All counts
are halved now and then, so that they speak of the last while.
"""
from libc.stdint cimport uint8_t, uint64_t
from proxyd_ext.core.slice cimport Slice

cdef enum:
    SKETCH_SIZE = 128
    SKETCH_TEXT = 64          # bytes kept of a key
    SKETCH_AGE = 131_072      # notes after which all counts are halved


ctypedef struct SketchKey:
    uint64_t refused
    int size
    uint8_t[SKETCH_TEXT] text


ctypedef struct Sketch:
    int lock
    int used
    uint64_t notes            # since the counts were halved
    uint64_t[SKETCH_SIZE] hash
    uint64_t[SKETCH_SIZE] count
    SketchKey[SKETCH_SIZE] key


# A request of a key.  While another thread is in there, it is let go: a sample less.
cdef void sketch_note(Sketch* sketch, uint64_t hash, Slice text, bint refused) noexcept nogil
# Take out a key, or all (hash 0).
cdef void sketch_forget(Sketch* sketch, uint64_t hash) noexcept nogil
# Copy the sketch as it is.
cdef void sketch_copy(Sketch* sketch, Sketch* into) noexcept nogil
