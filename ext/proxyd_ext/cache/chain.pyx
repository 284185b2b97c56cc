"""Chains (see chain.pxd)."""
from libc.stdlib cimport free
from libc.string cimport memset
from proxyd_ext.cache.alarm cimport Alarm, alarm_promise, alarms_ring
from proxyd_ext.cache.arena cimport ARENA_PAGE, arena_file, arena_free, arena_slot
from proxyd_ext.cache.object cimport CHAIN_FILLING
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport (
    INVARIANT, cas_int, fetch_add_int, fetch_add_u64, load_acquire_int, load_acquire_ptr, load_acquire_u32, load_acquire_u64, load_int,
    load_u64, store_int, store_release_int, store_release_ptr, store_release_u32, store_release_u64, store_u64,
)


cdef Chain* chain_new(void* slot) noexcept nogil:
    cdef Chain* chain = <Chain*>slot
    memset(chain, 0, sizeof(Chain))
    chain.refs = 1
    chain.owners = 1
    chain.state = CHAIN_FILLING
    chain.footprint = arena_slot(sizeof(Chain))
    return chain


cdef void chain_hold(Chain* chain) noexcept nogil:
    fetch_add_int(&chain.refs, 1)


cdef void chain_drop(Arena* arena, Chain* chain) noexcept nogil:
    cdef Piece* piece
    cdef Piece* following
    if fetch_add_int(&chain.refs, -1) != 1:
        return
    INVARIANT(chain.readers == NULL)
    piece = chain.first
    while piece != NULL:
        following = piece.next
        _free(arena, piece)
        piece = following
    arena_free(arena, chain, sizeof(Chain))


cdef void _free(Arena* arena, Piece* piece) noexcept nogil:
    if piece.heap:
        free(piece)
        return
    arena_free(arena, piece.data, piece.cap)
    arena_free(arena, piece, sizeof(Piece))


# ---- the source ----

cdef uint8_t* chain_room(Chain* chain, uint32_t* room) noexcept nogil:
    cdef Piece* last = chain.last
    if last == NULL or last.filled == last.cap:
        return NULL
    room[0] = last.cap - last.filled
    return last.data + last.filled


cdef void chain_extend(Chain* chain, Piece* piece, uint8_t* data, uint32_t cap, uint32_t slots) noexcept nogil:
    piece.next = NULL
    piece.data = data
    piece.cap = cap
    piece.filled = 0
    piece.heap = slots == 0
    lock_take(&chain.lock)
    if chain.last == NULL:
        store_release_ptr(<void**>&chain.first, piece)
    else:
        store_release_ptr(<void**>&chain.last.next, piece)
    chain.last = piece
    chain.footprint += slots
    lock_give(&chain.lock)


cdef void _wake_all(Chain* chain) noexcept nogil:
    cdef ChainReader* reader
    cdef Alarm* todo = NULL
    lock_take(&chain.lock)
    reader = chain.readers
    while reader != NULL:
        if reader.waiting:
            reader.waiting = False
            alarm_promise(reader.alarm, &todo)
        reader = reader.next
    lock_give(&chain.lock)
    alarms_ring(todo)


cdef void chain_wrote(Chain* chain, uint32_t size) noexcept nogil:
    cdef Piece* last = chain.last
    INVARIANT(last.filled + size <= last.cap)
    store_release_u32(&last.filled, last.filled + size)
    fetch_add_u64(&chain.filled, size)       # a full barrier: who joined before it is seen, who joins later sees the bytes
    if load_acquire_ptr(<void**>&chain.readers) != NULL:
        _wake_all(chain)


cdef void chain_finish(Chain* chain, int state) noexcept nogil:
    lock_take(&chain.lock)
    store_release_int(&chain.state, state)
    chain.source_waits = False
    lock_give(&chain.lock)
    _wake_all(chain)


cdef bint chain_adopt(Chain* chain) noexcept nogil:
    cdef int owners = load_acquire_int(&chain.owners)
    while owners > 0:
        if cas_int(&chain.owners, &owners, owners + 1):
            fetch_add_int(&chain.refs, 1)
            return True
    return False


cdef void chain_disown(Arena* arena, Chain* chain) noexcept nogil:
    if fetch_add_int(&chain.owners, -1) != 1:
        return
    lock_take(&chain.lock)
    store_int(&chain.passing, 1)
    lock_give(&chain.lock)
    _give_back(arena, chain)


cdef bint chain_full(Chain* chain, bint* alone) noexcept nogil:
    cdef bint full = False
    alone[0] = False
    if not load_int(&chain.passing):
        return False
    lock_take(&chain.lock)
    alone[0] = chain.readers == NULL
    if not alone[0]:
        full = chain.filled - _slowest(chain) >= CHAIN_AHEAD      # the caller is who fills it
        chain.source_waits = full
    lock_give(&chain.lock)
    return full


# ---- readers ----

cdef uint64_t _slowest(const Chain* chain) noexcept nogil:
    """An old view of a reader's place is a place further in front: at worst less is given back."""
    cdef uint64_t least = load_u64(&chain.filled)
    cdef uint64_t at
    cdef const ChainReader* reader = chain.readers
    while reader != NULL:
        at = load_acquire_u64(&reader.at)
        if at < least:
            least = at
        reader = reader.next
    return least


cdef void _give_back(Arena* arena, Chain* chain) noexcept nogil:
    """Of a chain that nobody will find: the pieces that all its readers have read. The last piece stays, for the source."""
    cdef Piece* piece
    cdef Piece* freed = NULL
    cdef uint64_t slowest
    cdef Alarm* todo = NULL
    lock_take(&chain.lock)
    if chain.passing and chain.readers != NULL:
        slowest = _slowest(chain)
        while chain.first != chain.last and chain.dropped + chain.first.filled <= slowest and not _stands_in(chain, chain.first):
            piece = chain.first
            chain.first = piece.next
            chain.dropped += piece.filled
            piece.next = freed
            freed = piece
        if chain.source_waits and load_u64(&chain.filled) - slowest < CHAIN_AHEAD // 2:
            chain.source_waits = False
            alarm_promise(chain.source, &todo)
    elif chain.passing and chain.source_waits:
        chain.source_waits = False        # the last reader has gone
        alarm_promise(chain.source, &todo)
    lock_give(&chain.lock)
    alarms_ring(todo)
    while freed != NULL:
        piece = freed.next
        _free(arena, freed)
        freed = piece


cdef bint _stands_in(const Chain* chain, const Piece* piece) noexcept nogil:
    """A reader that has read a piece to its end may still point to it."""
    cdef const ChainReader* reader = chain.readers
    while reader != NULL:
        if load_acquire_ptr(<void**>&reader.piece) == <void*>piece:
            return True
        reader = reader.next
    return False


cdef bint chain_join(Chain* chain, ChainReader* reader, uint64_t at) noexcept nogil:
    cdef Piece* piece
    cdef uint64_t left
    reader.waiting = False
    store_u64(&reader.at, at)
    lock_take(&chain.lock)
    if at < chain.dropped:
        lock_give(&chain.lock)
        return False
    left = at - chain.dropped
    piece = chain.first
    while piece != NULL and piece != chain.last and left >= piece.filled:
        left -= piece.filled
        piece = piece.next
    reader.piece = piece
    reader.offset = <uint32_t>left
    reader.previous = NULL
    reader.next = chain.readers
    if reader.next != NULL:
        reader.next.previous = reader
    store_release_ptr(<void**>&chain.readers, reader)
    lock_give(&chain.lock)
    return True


cdef void chain_leave(Arena* arena, Chain* chain, ChainReader* reader) noexcept nogil:
    lock_take(&chain.lock)
    reader.waiting = False
    if reader.previous != NULL:
        reader.previous.next = reader.next
    else:
        store_release_ptr(<void**>&chain.readers, reader.next)
    if reader.next != NULL:
        reader.next.previous = reader.previous
    lock_give(&chain.lock)
    if load_int(&chain.passing):
        _give_back(arena, chain)


cdef uint32_t chain_ready(Chain* chain, ChainReader* reader, const uint8_t** data) noexcept nogil:
    cdef Piece* piece = reader.piece
    cdef Piece* following
    cdef uint32_t filled
    if piece == NULL:
        piece = <Piece*>load_acquire_ptr(<void**>&chain.first)
        if piece == NULL:
            return 0
        reader.piece = piece
    while True:
        filled = load_acquire_u32(&piece.filled)
        if reader.offset < filled:
            data[0] = piece.data + reader.offset
            return filled - reader.offset
        if filled < piece.cap:
            return 0
        following = <Piece*>load_acquire_ptr(<void**>&piece.next)
        if following == NULL:
            return 0
        piece = following
        reader.offset -= filled
        store_release_ptr(<void**>&reader.piece, piece)


cdef uint32_t chain_run(Arena* arena, Chain* chain, ChainReader* reader, uint32_t most, const uint8_t** data, int* fd,
                        int64_t* offset) noexcept nogil:
    cdef uint32_t size = chain_ready(chain, reader, data)
    cdef Piece* piece
    cdef Piece* following
    cdef int64_t at, offset_of_next
    cdef int other
    fd[0] = -1
    if size == 0 or reader.piece.cap != ARENA_PAGE or reader.piece.heap or not arena_file(arena, reader.piece.data, fd, offset):
        return size if size < most else most
    piece = reader.piece
    at = offset[0]
    offset[0] += reader.offset
    while size < most and piece.filled == ARENA_PAGE:
        following = <Piece*>load_acquire_ptr(<void**>&piece.next)
        if following == NULL or following.cap != ARENA_PAGE or following.data != piece.data + ARENA_PAGE:
            break
        if not arena_file(arena, following.data, &other, &offset_of_next) or offset_of_next != at + ARENA_PAGE:
            break
        at += ARENA_PAGE
        piece = following
        size += load_acquire_u32(&piece.filled)
    return size if size < most else most


cdef void chain_read(Arena* arena, Chain* chain, ChainReader* reader, uint32_t size) noexcept nogil:
    reader.offset += size
    store_release_u64(&reader.at, reader.at + size)
    if load_int(&chain.passing):
        _give_back(arena, chain)


cdef bint chain_wait(Chain* chain, ChainReader* reader) noexcept nogil:
    cdef bint waits
    lock_take(&chain.lock)
    # The source publishes first and looks for readers that wait afterwards, under the lock: one of us sees the other.
    waits = load_acquire_u64(&chain.filled) == reader.at and load_acquire_int(&chain.state) == CHAIN_FILLING
    reader.waiting = waits
    lock_give(&chain.lock)
    return waits
