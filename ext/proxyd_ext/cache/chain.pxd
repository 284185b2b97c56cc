"""Chains: bodies in pieces, which may be read by many while one source still fills them.

The source appends, readers follow; neither takes the other's time: what is filled is published with a release and read with an acquire, the
lock is taken only to wait, to wake, and to come and go. A slow reader of a chain that nobody can find any more holds only what it has not
read: the pieces behind the slowest reader are given back. Such a chain may also grow without bound (its object was too large to be kept),
so its source waits while CHAIN_AHEAD bytes are ahead of its slowest reader.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from proxyd_ext.cache.arena cimport Arena
from proxyd_ext.cache.object cimport Chain, ChainReader, Piece


cdef enum:
    PIECE_BYTES = 65536       # arena bytes of a full piece
    CHAIN_AHEAD = 262144      # bytes that a chain which is not kept holds for its slowest reader


cdef Chain* chain_new(void* slot) noexcept nogil                             # of sizeof(Chain) bytes, from the arena; one reference
cdef void chain_hold(Chain* chain) noexcept nogil
cdef void chain_drop(Arena* arena, Chain* chain) noexcept nogil
# Where the source writes next: at most *room bytes.  NULL: the last piece is full (or there is none).
cdef uint8_t* chain_room(Chain* chain, uint32_t* room) noexcept nogil
# Hang in another piece, whose parts are the arena's: `data` has `cap` bytes, and both together take `slots` bytes of it; 0: they are one
# block
# of the heap.
cdef void chain_extend(Chain* chain, Piece* piece, uint8_t* data, uint32_t cap, uint32_t slots) noexcept nogil
cdef void chain_wrote(Chain* chain, uint32_t size) noexcept nogil            # so many more bytes stand there; wakes who waits
cdef void chain_finish(Chain* chain, int state) noexcept nogil               # CHAIN_COMPLETE or CHAIN_FAILED; wakes who waits
# Another object has it, beside the one that it was made for.  False: nobody finds that one any more, and what is read is given back.
cdef bint chain_adopt(Chain* chain) noexcept nogil
# One of them is not found any more, and with the last nobody will find it.
cdef void chain_disown(Arena* arena, Chain* chain) noexcept nogil
# Whether the source should wait for its readers (then `wake` is called once there is room).  *alone: there are none left.
cdef bint chain_full(Chain* chain, bint* alone) noexcept nogil

# Begin to read at a byte that has been filled, or at the end.  False: it has been given back already.
cdef bint chain_join(Chain* chain, ChainReader* reader, uint64_t at) noexcept nogil
cdef void chain_leave(Arena* arena, Chain* chain, ChainReader* reader) noexcept nogil
# The bytes that stand ready for the reader in one run; 0 at the end of what is filled.
cdef uint32_t chain_ready(Chain* chain, ChainReader* reader, const uint8_t** data) noexcept nogil
# The same, for a socket: at most `most` bytes that stand in a run of the arena's file.  *fd -1: they do not, or are too few: data is memory
# only.
cdef uint32_t chain_run(Arena* arena, Chain* chain, ChainReader* reader, uint32_t most, const uint8_t** data, int* fd,
                        int64_t* offset) noexcept nogil
cdef void chain_read(Arena* arena, Chain* chain, ChainReader* reader, uint32_t size) noexcept nogil   # the first so many are done with
# At the end of what is filled: be woken when there is more.  False: there is more, or the chain has its end: look again.
cdef bint chain_wait(Chain* chain, ChainReader* reader) noexcept nogil
