"""The arena: where the cache's bytes live. A paged slot allocator with an exact bound, for fills and evictions of any thread.

Memory comes as pages of 64 KiB out of regions (region.pxd). A page is one slot (class 0), or n equal slots of a class: 65536 / n bytes,
rounded down to 16, for 50 values of n from 1 to 1024. What a request wastes in its slot is at most 12.5 % or 15 bytes between 64 bytes and
8 KiB; above that n takes every value there is (8, 7, 6, … 1), and who can split an object (16 KiB + 4 KiB instead of 20 KiB) asks
arena_slot first. The tail of a page is below 1.2 %.

The limit counts pages, not slots: pages with a live slot × 64 KiB + metadata never exceed it. A page is of one kind and of one class while
it has live slots; when the last one is freed it goes back to the stock at once, from where any class can take it. The stock keeps up to an
eighth of the limit warm and gives the rest back to the kernel. Warm pages are taken before cold ones, so that what the process really
occupies stays within the limit, too (only while a limit has just shrunk, and for bytes that a socket still sends, may it be more).

Metadata stands outside of the pages, and free slots are bits there: a slot that somebody writes to after freeing it, or beyond its end,
cannot lead the allocator astray, a slot freed twice is noticed, and neither freeing nor looking for candidates touches the page itself.

One spinlock guards it all; no system call is made under it. In sanitizer builds each slot of class 1 and up is a malloc of its own, with
the same accounting; those of class 0 stay real pages, so that they can be lent, and are poisoned when free.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from proxyd_ext.cache.region cimport PAGE_BYTES, Page, Region


cdef enum:
    ARENA_PAGE = PAGE_BYTES
    ARENA_SLOT_MAX = PAGE_BYTES
    ARENA_OBJECT = 0          # cache objects: whole pages of them can be evicted
    ARENA_FIXED = 1           # everything else
    ARENA_KINDS = 2
    ARENA_ZEROED = 64         # bytes at the front of a slot that are zero when it is given
    ARENA_CLASSES = 50


ctypedef bint (*PinSlot)(void* slot) noexcept nogil


ctypedef struct PageList:
    Page* first
    Page* last


ctypedef struct RegionSlot:
    Region* region            # NULL: this number is free
    uint32_t next             # the next free number + 1; 0: none


ctypedef struct Arena:
    int lock
    int fd                    # of the memfd; -1: private memory
    uint32_t round            # calls of arena_candidates
    uint32_t regions          # numbers that were ever given
    uint32_t free_number      # a free one below that + 1; 0: none
    RegionSlot* table         # by number; REGIONS_MAX of them, touched lazily
    Region* open              # regions that have cold pages
    uint64_t limit            # bytes; this and the next two are read without the lock
    uint64_t held             # bytes of used pages and of metadata
    uint64_t used             # bytes of live slots
    uint64_t warm             # pages in the stock
    uint64_t leaving          # pages on their way from the stock to the kernel
    PageList stock            # the warmest first
    PageList[ARENA_KINDS] full                        # used pages without a free slot; the latest first
    PageList[ARENA_KINDS][ARENA_CLASSES] partial      # used pages with free slots; allocations take from the first


cdef Arena* arena_create(uint64_t limit) noexcept nogil                # limit in bytes. NULL: no memory
# Everything must have been freed (checked in debug builds), and what was lent is no longer asked for.
cdef void arena_destroy(Arena* arena) noexcept nogil
# Change the limit. Shrinking takes nothing from anybody: there are no new pages until enough were freed.
cdef void arena_limit(Arena* arena, uint64_t limit) noexcept nogil
cdef uint64_t arena_over(const Arena* arena) noexcept nogil            # bytes held above the limit; 0: none
# `size` bytes at a multiple of 16, uninitialised but for the first ARENA_ZEROED. NULL: the class has no free slot and there is no page
# within the limit (nothing is
# evicted here), or the system has no memory. size <= ARENA_SLOT_MAX; kind: ARENA_*.
cdef void* arena_new(Arena* arena, uint32_t size, int kind) noexcept nogil
cdef void arena_free(Arena* arena, void* slot, uint32_t size) noexcept nogil    # size: as asked for
cdef uint32_t arena_slot(uint32_t size) noexcept nogil                 # bytes that a request of this size really takes
cdef uint64_t arena_held(const Arena* arena) noexcept nogil            # bytes of used pages and of metadata
cdef uint64_t arena_used(const Arena* arena) noexcept nogil            # bytes of live slots
# Live slots of the page of kind ARENA_OBJECT that is cheapest to empty: of up to 64 pages of each class that have free slots (those that
# had none the longest ago) the one with the fewest live bytes; if there is none, of a page that has been full for long. Returns how many
# were written to `out`: at most `most`; 1024 suffice for any page; 0: no object lives.
# A page that was named in the last 64 calls comes last: whoever calls again could not empty it, since a slow reader pins a slot.
# `pin` is called for each under the arena's lock, where no slot becomes free, and says whether it is written; NULL: all are, and may be
# free, or
# somebody else's, by the time the caller looks.
cdef int arena_candidates(Arena* arena, void** out, int most, PinSlot pin) noexcept nogil
# For sendfile(2): the descriptor, and the offset in it, of an address in a live slot of class 0 (arena_slot(size) == ARENA_PAGE; others
# cannot be lent, INVARIANT). False: not backed by a file. The page is lent from here on: when its slot has been freed, its bytes are
# detached from the file before anybody gets the page, so that a socket which still holds them sends them as they are. The slot must stay
# pinned until sendfile has returned, no longer.
cdef bint arena_file(Arena* arena, const void* at, int* fd, int64_t* offset) noexcept nogil
