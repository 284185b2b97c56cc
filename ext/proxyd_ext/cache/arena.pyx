# cython: cdivision=True
"""The arena (see arena.pxd): classes, slots, candidates. Where pages come from and go to is in pages.pyx."""
from libc.stdint cimport uint8_t, uint16_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_NORESERVE, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from posix.unistd cimport close
from proxyd_ext.cache.pages cimport ASKED_ROUNDS, page_leave, page_push, page_remove, page_take, pages_trim
from proxyd_ext.cache.region cimport (
    META_PAGE, PAGE_USED, REGIONS_MAX, bytes_forbid, page_base, page_index, page_of, region_file, region_of, region_offset, region_unmap,
)
from proxyd_ext.core.hash cimport Random, random_below, random_next
from proxyd_ext.core.live cimport LIVE_CACHE, live_born, live_died
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport INVARIANT, PXD_DEBUG, load_int, load_u64, store_int, store_u64

cdef extern from *:
    """
    #if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    #define PXD_ARENA_MALLOC 1
    #elif defined(__has_feature)
    #if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    #define PXD_ARENA_MALLOC 1
    #endif
    #endif
    #ifndef PXD_ARENA_MALLOC
    #define PXD_ARENA_MALLOC 0
    #endif
    #define PXD_LOWEST_BIT(x) __builtin_ctzll(x)
    """
    enum:
        PXD_ARENA_MALLOC
    int PXD_LOWEST_BIT(uint64_t x) noexcept nogil    # x is not 0

cdef enum:
    CLASS_STEPS = 4097        # sizes from 0 to ARENA_PAGE by 16
    LOOK_PAGES = 64           # that arena_candidates compares, in each class
    BLOCK_HEAD = 16           # sanitizer builds: a block begins with the address of the slot that it stands for; the slot holds the block's


# ---- classes: as many slots in a page; each step up is by at most an eighth, until n leaves no choice
cdef uint16_t[ARENA_CLASSES] _count = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 19, 21, 23, 26, 29, 33, 37, 42, 48, 54, 61, 69, 78, 89, 99, 113, 128, 146, 163,
    186, 204, 227, 256, 292, 315, 341, 372, 409, 455, 512, 585, 682, 819, 1024,
]
cdef uint32_t[ARENA_CLASSES] _slot                  # bytes
cdef uint8_t[CLASS_STEPS] _class         # by size, rounded up to 16


cdef void _build_classes() noexcept:
    cdef uint32_t size
    cdef int k
    for k in range(ARENA_CLASSES):
        _slot[k] = ARENA_PAGE // _count[k] // 16 * 16
    k = ARENA_CLASSES - 1
    for size in range(0, ARENA_PAGE + 1, 16):
        while _slot[k] < size:
            k -= 1
        _class[size // 16] = k


_build_classes()


cdef inline int _class_of(uint32_t size) noexcept nogil:
    INVARIANT(size <= ARENA_SLOT_MAX)
    return _class[(size + 15) // 16]


# ---- birth and death
cdef Arena* _create(uint64_t limit, bint filed) noexcept nogil:
    cdef Arena* arena = <Arena*>calloc(1, sizeof(Arena))
    if arena == NULL:
        return NULL
    arena.table = <RegionSlot*>mmap(NULL, REGIONS_MAX * sizeof(RegionSlot), PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if <void*>arena.table == MAP_FAILED:
        free(arena)
        return NULL
    arena.fd = region_file() if filed else -1
    arena.limit = limit
    return arena


cdef Arena* arena_create(uint64_t limit) noexcept nogil:
    INVARIANT(sizeof(Page) == META_PAGE)
    return _create(limit, True)


cdef void arena_destroy(Arena* arena) noexcept nogil:
    cdef uint32_t number
    if PXD_DEBUG:
        INVARIANT(arena.used == 0)
    for number in range(arena.regions):
        if arena.table[number].region != NULL:
            region_unmap(arena.table[number].region)
    if arena.fd >= 0:
        close(arena.fd)
    munmap(arena.table, REGIONS_MAX * sizeof(RegionSlot))
    free(arena)


# ---- limits and counts
cdef void arena_limit(Arena* arena, uint64_t limit) noexcept nogil:
    lock_take(&arena.lock)
    store_u64(&arena.limit, limit)
    lock_give(&arena.lock)
    while pages_trim(arena):
        pass


cdef uint64_t arena_over(const Arena* arena) noexcept nogil:
    cdef uint64_t held = load_u64(&arena.held), limit = load_u64(&arena.limit)
    return held - limit if held > limit else 0


cdef uint64_t arena_held(const Arena* arena) noexcept nogil:
    return load_u64(&arena.held)


cdef uint64_t arena_used(const Arena* arena) noexcept nogil:
    return load_u64(&arena.used)


cdef uint32_t arena_slot(uint32_t size) noexcept nogil:
    return _slot[_class_of(size)]


# ---- slots
cdef uint8_t* _take_slot(Arena* arena, Page* page) noexcept nogil:
    """A free slot of a page that has one."""
    cdef int k = page.size_class
    cdef uint32_t word = page.hint
    cdef uint32_t at
    while page.free[word] == 0:
        word += 1
    at = word * 64 + PXD_LOWEST_BIT(page.free[word])
    page.free[word] &= page.free[word] - 1
    page.hint = word
    page.live += 1
    if page.live == _count[k]:
        page_remove(&arena.partial[page.kind][k], page)
        page_push(&arena.full[page.kind], page)
    store_u64(&arena.used, arena.used + _slot[k])
    return page_base(page) + at * _slot[k]


cdef void _put_slot(Arena* arena, Page* page, uint32_t at) noexcept nogil:
    """Free slot number `at`. The page leaves its list if that was the last."""
    cdef int k = page.size_class
    cdef uint32_t word = at // 64
    cdef uint64_t bit = <uint64_t>1 << at % 64
    INVARIANT(not page.free[word] & bit)        # freed twice
    page.free[word] |= bit
    if word < page.hint:
        page.hint = word
    if page.live == _count[k]:
        page_remove(&arena.full[page.kind], page)
        page_push(&arena.partial[page.kind][k], page)
    page.live -= 1
    if page.live == 0:
        page_remove(&arena.partial[page.kind][k], page)
    store_u64(&arena.used, arena.used - _slot[k])


cdef inline bint _is_block(int k) noexcept nogil:
    """Whether slots of a class are blocks of malloc."""
    return PXD_ARENA_MALLOC and k != 0


cdef void* arena_new(Arena* arena, uint32_t size, int kind) noexcept nogil:
    cdef int k = _class_of(size)
    cdef Page* page
    cdef void* slot
    cdef void** block = NULL
    INVARIANT(kind == ARENA_OBJECT or kind == ARENA_FIXED)
    if _is_block(k):
        block = <void**>malloc(BLOCK_HEAD + size)
        if block == NULL:
            return NULL
    lock_take(&arena.lock)
    page = arena.partial[kind][k].first
    if page == NULL:
        page = page_take(arena, k, _count[k], kind)
    if page == NULL:
        lock_give(&arena.lock)
        free(block)
        return NULL
    slot = _take_slot(arena, page)
    if _is_block(k):
        block[0] = slot
        (<void**>slot)[0] = <uint8_t*>block + BLOCK_HEAD
        slot = (<void**>slot)[0]
    else:
        bytes_forbid(<uint8_t*>slot + size, _slot[k] - size)
    memset(slot, 0, size if size < ARENA_ZEROED else ARENA_ZEROED)      # under the lock: before anybody can come upon it as a candidate
    lock_give(&arena.lock)
    live_born(LIVE_CACHE)
    return slot


cdef void arena_free(Arena* arena, void* slot, uint32_t size) noexcept nogil:
    cdef int k = _class_of(size)
    cdef void** block = NULL
    cdef Page* page
    cdef uint32_t offset
    live_died(LIVE_CACHE)
    if _is_block(k):
        block = <void**>(<uint8_t*>slot - BLOCK_HEAD)
        slot = block[0]
    INVARIANT(region_of(slot).owner == arena)
    page = page_of(slot)
    offset = <uint32_t>(<uint8_t*>slot - page_base(page))
    lock_take(&arena.lock)
    INVARIANT(page.state == PAGE_USED and page.size_class == k)
    INVARIANT(offset % _slot[k] == 0 and offset // _slot[k] < _count[k])
    if not _is_block(k):
        bytes_forbid(slot, _slot[k])
    _put_slot(arena, page, offset // _slot[k])
    if page.live == 0:
        page_leave(arena, page)
    else:
        lock_give(&arena.lock)
    free(block)


cdef bint arena_file(Arena* arena, const void* at, int* fd, int64_t* offset) noexcept nogil:
    cdef Page* page
    if arena.fd < 0:
        return False
    INVARIANT(region_of(at).owner == arena)
    page = page_of(at)
    INVARIANT(page.state == PAGE_USED and page.size_class == 0)
    # A large object is sent many times: its page's line is written once.
    if not load_int(&page.lent):
        store_int(&page.lent, 1)
    fd[0] = arena.fd
    offset[0] = region_offset(at)
    return True


# ---- candidates
cdef bint _evictable(const Page* page) noexcept nogil:
    return page.state == PAGE_USED and page.kind == ARENA_OBJECT and page.live != 0


cdef int _list_live(const Page* page, void** out, int most, PinSlot pin) noexcept nogil:
    cdef int k = page.size_class
    cdef uint32_t word, slots = _count[k]
    cdef uint64_t taken
    cdef uint8_t* slot
    cdef int n = 0
    for word in range((slots + 63) // 64):
        taken = ~page.free[word]
        if slots < 64 * (word + 1):
            taken &= (<uint64_t>1 << slots % 64) - 1
        while taken != 0 and n < most:
            slot = page_base(page) + (64 * word + PXD_LOWEST_BIT(taken)) * _slot[k]
            out[n] = (<void**>slot)[0] if _is_block(k) else slot
            taken &= taken - 1
            if pin == NULL or pin(out[n]):
                n += 1
    return n


cdef int arena_candidates(Arena* arena, void** out, int most, PinSlot pin) noexcept nogil:
    # The lock is given away between the classes. A page that was chosen may be somebody else's by the end, and even its region may be gone:
    # so it is remembered by its numbers, and looked at anew.
    cdef uint32_t region = 0, index = 0
    cdef uint32_t bytes, best = ~<uint32_t>0
    cdef Page* page
    cdef int k, looked, n = 0
    for k in range(ARENA_CLASSES):
        lock_take(&arena.lock)
        page = arena.partial[ARENA_OBJECT][k].last
        looked = 0
        while page != NULL and looked < LOOK_PAGES:
            bytes = page.live * _slot[k]
            if arena.round - page.asked < ASKED_ROUNDS:
                bytes += ARENA_PAGE
            if bytes < best:
                best, region, index = bytes, region_of(page).number, page_index(page)
            page = page.prev
            looked += 1
        lock_give(&arena.lock)
    lock_take(&arena.lock)
    page = NULL
    if best < ARENA_PAGE or arena.full[ARENA_OBJECT].last == NULL:
        if best != ~<uint32_t>0 and arena.table[region].region != NULL and _evictable(&arena.table[region].region.pages[index]):
            page = &arena.table[region].region.pages[index]
    if page == NULL:
        page = arena.full[ARENA_OBJECT].last
    if page != NULL:
        arena.round += 1
        page.asked = arena.round
        if page.live == _count[page.size_class]:
            page_remove(&arena.full[ARENA_OBJECT], page)
            page_push(&arena.full[ARENA_OBJECT], page)
        n = _list_live(page, out, most, pin)
    lock_give(&arena.lock)
    return n


# ---- for tests and tools
def classes() -> list[tuple[int, int]]:
    """The size classes as (bytes of a slot, slots in a page)."""
    return [(_slot[k], _count[k]) for k in range(ARENA_CLASSES)]


def slot_bytes(size: int) -> int:
    """arena_slot."""
    return arena_slot(_checked(size))


cdef uint32_t _checked(size) except? 0:
    if not 0 <= size <= ARENA_SLOT_MAX:
        raise ValueError(f"no slot has {size} bytes")
    return size


ctypedef struct ChurnSlot:
    uint8_t* data             # NULL: none
    uint32_t size
    uint8_t fill


ctypedef struct Churn:
    Arena* arena
    Random random
    ChurnSlot* slots
    uint32_t keep
    uint32_t largest
    uint64_t taken
    uint64_t refused
    uint64_t broken
    uint64_t most_held


cdef void _churn_slot(Churn* churn, ChurnSlot* slot) noexcept nogil:
    """Free what is there, or else take something."""
    cdef int fd
    cdef int64_t offset
    cdef uint32_t i
    if slot.data != NULL:
        for i in range(slot.size):
            if slot.data[i] != slot.fill:
                churn.broken += 1
                break
        arena_free(churn.arena, slot.data, slot.size)
        slot.data = NULL
        return
    # As many small ones as large ones.
    slot.size = 1 + random_below(&churn.random, churn.largest >> random_below(&churn.random, 11))
    slot.data = <uint8_t*>arena_new(churn.arena, slot.size, random_below(&churn.random, ARENA_KINDS))
    if slot.data == NULL:
        churn.refused += 1
        return
    churn.taken += 1
    slot.fill = <uint8_t>random_next(&churn.random)
    memset(slot.data, slot.fill, slot.size)
    if arena_slot(slot.size) == ARENA_PAGE and slot.fill & 1:
        arena_file(churn.arena, slot.data, &fd, &offset)


cdef void _churn(Churn* churn, int rounds) noexcept nogil:
    cdef void* out[64]
    cdef uint32_t i
    cdef int turn
    for turn in range(rounds):
        _churn_slot(churn, &churn.slots[random_below(&churn.random, churn.keep)])
        churn.most_held = max(churn.most_held, arena_held(churn.arena))
        if turn % 64 == 0:
            arena_candidates(churn.arena, out, 64, NULL)
    for i in range(churn.keep):
        if churn.slots[i].data != NULL:
            _churn_slot(churn, &churn.slots[i])


cdef class ArenaProbe:
    """An arena in Python's hands, for tests and tools. A slot is its address, with the size that was asked for."""
    cdef Arena* _arena
    cdef dict _sizes

    def __cinit__(self, uint64_t limit, *, bint filed=True):
        self._arena = _create(limit, filed)
        if self._arena == NULL:
            raise MemoryError
        self._sizes = {}

    def __dealloc__(self):
        if self._arena != NULL:
            for slot, size in self._sizes.items():
                arena_free(self._arena, <void*><size_t>slot, size)
            arena_destroy(self._arena)

    def new(self, size, int kind=ARENA_OBJECT):
        cdef void* slot = arena_new(self._arena, _checked(size), kind)
        if slot == NULL:
            return None
        self._sizes[<size_t>slot] = size
        return <size_t>slot

    def free(self, slot):
        arena_free(self._arena, <void*><size_t>slot, self._sizes.pop(slot))

    def write(self, slot, const uint8_t[::1] data):
        if len(data) > self._sizes[slot]:
            raise ValueError("more than the slot has")
        memcpy(<void*><size_t>slot, &data[0], len(data))

    def read(self, slot) -> bytes:
        return (<uint8_t*><size_t>slot)[:self._sizes[slot]]

    def page(self, slot) -> int:
        """The address of the page that a slot stands in."""
        cdef void* at = <void*><size_t>slot
        if _is_block(_class_of(self._sizes[slot])):
            at = (<void**>(<uint8_t*>at - BLOCK_HEAD))[0]
        return <size_t>page_base(page_of(at))

    def limit(self, uint64_t limit):
        with nogil:
            arena_limit(self._arena, limit)

    @property
    def held(self):
        return arena_held(self._arena)

    @property
    def used(self):
        return arena_used(self._arena)

    @property
    def over(self):
        return arena_over(self._arena)

    @property
    def warm(self):
        """Bytes in the stock."""
        return load_u64(&self._arena.warm) * ARENA_PAGE

    @property
    def fd(self):
        return self._arena.fd

    def candidates(self, int most=1024):
        cdef void* out[1024]
        cdef int i, n = arena_candidates(self._arena, out, min(most, 1024), NULL)
        return [<size_t>out[i] for i in range(n)]

    def file(self, slot, uint32_t offset=0):
        """(descriptor, offset) of a byte of a slot, or None."""
        cdef int fd
        cdef int64_t at
        if arena_slot(self._sizes[slot]) != ARENA_PAGE:
            raise ValueError("only whole pages can be lent")
        return (fd, at) if arena_file(self._arena, <uint8_t*><size_t>slot + offset, &fd, &at) else None

    def churn(self, uint64_t seed, int rounds, int keep=64, uint32_t largest=ARENA_SLOT_MAX):
        """Take and free slots of random sizes, without the GIL, at most `keep` at a time; each filled with bytes of its own, which are
        looked at before it is freed. Returns {taken, refused, broken, most_held}: slots, and the most bytes that were seen held."""
        cdef Churn churn
        churn.arena, churn.random.state, churn.keep, churn.largest = self._arena, seed, keep, largest
        churn.taken = churn.refused = churn.broken = churn.most_held = 0
        churn.slots = <ChurnSlot*>calloc(keep, sizeof(ChurnSlot))
        if churn.slots == NULL:
            raise MemoryError
        with nogil:
            _churn(&churn, rounds)
        free(churn.slots)
        return {"taken": churn.taken, "refused": churn.refused, "broken": churn.broken, "most_held": churn.most_held}
