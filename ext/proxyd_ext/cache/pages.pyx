"""Pages (see pages.pxd). Functions whose names begin with an underscore run under the lock, unless they say otherwise."""
from libc.stdint cimport int64_t, uint64_t
from proxyd_ext.cache.arena cimport ARENA_PAGE
from proxyd_ext.cache.region cimport (
    META_PAGE, META_REGION, PAGE_COLD, PAGE_LEAVING, PAGE_USED, PAGE_WARM, REGION_PAGES, REGIONS_MAX, Region, bytes_allow, page_base,
    region_map, region_of, region_punch, region_unmap,
)
from proxyd_ext.core.lock cimport lock_give, lock_take
from proxyd_ext.core.shim cimport load_int, store_int, store_u64

cdef enum:
    STOCK_SHARE = 8           # of the limit, 1/8 may stay warm
    TRIM_PAGES = 16           # that go back to the kernel at a time: what one freeing may cost is bounded


# ---- lists and counts
cdef void page_push(PageList* pages, Page* page) noexcept nogil:
    page.prev = NULL
    page.next = pages.first
    if pages.first != NULL:
        pages.first.prev = page
    else:
        pages.last = page
    pages.first = page


cdef void page_remove(PageList* pages, Page* page) noexcept nogil:
    if page.prev != NULL:
        page.prev.next = page.next
    else:
        pages.first = page.next
    if page.next != NULL:
        page.next.prev = page.prev
    else:
        pages.last = page.prev


cdef void _open(Arena* arena, Region* region) noexcept nogil:
    """It has a cold page."""
    if region.open:
        return
    region.open = True
    region.prev = NULL
    region.next = arena.open
    if arena.open != NULL:
        arena.open.prev = region
    arena.open = region


cdef void _shut(Arena* arena, Region* region) noexcept nogil:
    region.open = False
    if region.prev != NULL:
        region.prev.next = region.next
    else:
        arena.open = region.next
    if region.next != NULL:
        region.next.prev = region.prev


cdef void _hold(Arena* arena, int64_t bytes) noexcept nogil:
    store_u64(&arena.held, arena.held + <uint64_t>bytes)


cdef bint _fits(const Arena* arena, uint64_t bytes) noexcept nogil:
    """Whether more memory can be taken from the kernel. Pages on their way there still occupy theirs."""
    return arena.held + arena.leaving * ARENA_PAGE + bytes <= arena.limit


# ---- where pages come from: the stock, then cold ones of a region that has some, then a new region
cdef void _give_number(Arena* arena, uint32_t number) noexcept nogil:
    arena.table[number].region = NULL
    arena.table[number].next = arena.free_number
    arena.free_number = number + 1


cdef bint _grow(Arena* arena, Page** page) noexcept nogil:
    """The first page of a new region; NULL: look again. Gives the lock away. False: not within the limit, or the system has no memory."""
    cdef int64_t bytes = META_REGION + META_PAGE + ARENA_PAGE
    cdef uint32_t number
    cdef Region* region
    page[0] = NULL
    if not _fits(arena, bytes):
        return False
    if arena.free_number != 0:
        number = arena.free_number - 1
        arena.free_number = arena.table[number].next
    elif arena.regions < REGIONS_MAX:
        number = arena.regions
        arena.regions += 1
    else:
        return False
    _hold(arena, bytes)
    lock_give(&arena.lock)
    region = region_map(arena.fd, number)
    lock_take(&arena.lock)
    if region != NULL and arena.open == NULL:
        region.owner = arena
        region.fresh = 1
        arena.table[number].region = region
        _open(arena, region)
        page[0] = &region.pages[0]
        return True
    if region != NULL:      # another thread was faster
        lock_give(&arena.lock)
        region_unmap(region)
        lock_take(&arena.lock)
    _hold(arena, -bytes)
    _give_number(arena, number)
    return region != NULL


cdef Page* _cold_page(Arena* arena, Region* region) noexcept nogil:
    """A page of a region that has cold ones; NULL: not within the limit."""
    cdef Page* page = region.cold
    if page != NULL:
        if not _fits(arena, ARENA_PAGE):
            return NULL
        region.cold = page.next
        _hold(arena, ARENA_PAGE)
    else:
        if not _fits(arena, META_PAGE + ARENA_PAGE):
            return NULL
        page = &region.pages[region.fresh]
        region.fresh += 1
        _hold(arena, META_PAGE + ARENA_PAGE)
    if region.cold == NULL and region.fresh == REGION_PAGES:
        _shut(arena, region)
    return page


cdef Page* page_take(Arena* arena, int k, uint32_t slots, int kind) noexcept nogil:
    cdef Page* page
    cdef uint32_t word
    while True:
        page = arena.stock.first
        if page != NULL:
            if arena.held + ARENA_PAGE > arena.limit:
                return NULL
            page_remove(&arena.stock, page)
            region_of(page).warm -= 1
            store_u64(&arena.warm, arena.warm - 1)
            _hold(arena, ARENA_PAGE)
        elif arena.open != NULL:
            page = _cold_page(arena, arena.open)
            if page == NULL:
                return NULL
        elif not _grow(arena, &page):
            return NULL
        if page != NULL:
            break
    region_of(page).used += 1
    page.state = PAGE_USED
    page.size_class, page.kind = k, kind
    page.live = page.hint = 0
    page.asked = arena.round - ASKED_ROUNDS
    for word in range((slots + 63) // 64):
        page.free[word] = ~<uint64_t>0 if slots >= 64 * (word + 1) else (<uint64_t>1 << slots % 64) - 1
    page_push(&arena.partial[kind][k], page)
    bytes_allow(page_base(page), ARENA_PAGE)
    return page


# ---- where pages go: into the stock, warm; from there, when it is too large, back to the kernel
cdef void _cool(Arena* arena, Page* page) noexcept nogil:
    """Its memory has been given back."""
    cdef Region* region = region_of(page)
    page.state = PAGE_COLD
    page.next = region.cold
    region.cold = page
    _open(arena, region)


cdef Region* _retire(Arena* arena, Region* region, Region* chain) noexcept nogil:
    """Take a region of which nothing is used or warm out of circulation, and put it before a chain of those that are to be unmapped."""
    if region.used or region.warm or arena.table[region.number].region == NULL:
        return chain
    _shut(arena, region)
    arena.table[region.number].region = NULL    # its number stays taken until it is unmapped
    region.next = chain
    return region


cdef void _unmap_all(Arena* arena, Region* chain) noexcept nogil:
    """Without the lock."""
    cdef Region* following
    cdef uint32_t number
    cdef int64_t bytes
    while chain != NULL:
        following = chain.next
        number = chain.number
        bytes = META_REGION + <int64_t>chain.fresh * META_PAGE
        region_unmap(chain)
        lock_take(&arena.lock)
        _hold(arena, -bytes)
        _give_number(arena, number)
        lock_give(&arena.lock)
        chain = following


cdef void _punch_all(Arena* arena, Page** pages, int count) noexcept nogil:
    """Without the lock: give the memory of pages back, neighbours with one call."""
    cdef Page* page
    cdef int i, at, run
    for i in range(1, count):
        page = pages[i]
        at = i
        while at > 0 and pages[at - 1] > page:
            pages[at] = pages[at - 1]
            at -= 1
        pages[at] = page
    at = 0
    while at < count:
        run = 1
        # Pages of two regions cannot follow one another: the regions' heads lie between them.
        while at + run < count and pages[at + run] == pages[at] + run:
            run += 1
        region_punch(arena.fd, pages[at], run)
        at += run


cdef bint pages_trim(Arena* arena) noexcept nogil:
    cdef Page* pages[TRIM_PAGES]
    cdef Region* chain = NULL
    cdef int i, count = 0
    lock_take(&arena.lock)
    if arena.warm * ARENA_PAGE > arena.limit // STOCK_SHARE:
        while count < TRIM_PAGES and arena.stock.last != NULL:
            pages[count] = arena.stock.last
            page_remove(&arena.stock, pages[count])
            pages[count].state = PAGE_LEAVING
            count += 1
    store_u64(&arena.warm, arena.warm - count)
    arena.leaving += count
    lock_give(&arena.lock)
    if count == 0:
        return False
    _punch_all(arena, pages, count)
    lock_take(&arena.lock)
    arena.leaving -= count
    for i in range(count):
        region_of(pages[i]).warm -= 1
        _cool(arena, pages[i])
    for i in range(count):
        # Only behind the last of its pages: a region that is retired must not be looked at again.
        if i + 1 == count or region_of(pages[i]) != region_of(pages[i + 1]):
            chain = _retire(arena, region_of(pages[i]), chain)
    lock_give(&arena.lock)
    _unmap_all(arena, chain)
    return True


cdef void page_leave(Arena* arena, Page* page) noexcept nogil:
    cdef Region* region = region_of(page)
    cdef Region* chain
    cdef bint too_much
    if not load_int(&page.lent):
        page.state = PAGE_WARM
        page_push(&arena.stock, page)
        region.warm += 1
        region.used -= 1
        store_u64(&arena.warm, arena.warm + 1)
        _hold(arena, -ARENA_PAGE)
        too_much = arena.warm * ARENA_PAGE > arena.limit // STOCK_SHARE
        lock_give(&arena.lock)
        if too_much:
            pages_trim(arena)
        return
    page.state = PAGE_LEAVING     # and counted as held until its memory is really gone
    lock_give(&arena.lock)
    region_punch(arena.fd, page, 1)
    lock_take(&arena.lock)
    store_int(&page.lent, 0)
    region.used -= 1
    _hold(arena, -ARENA_PAGE)
    _cool(arena, page)
    chain = _retire(arena, region, NULL)
    lock_give(&arena.lock)
    _unmap_all(arena, chain)
