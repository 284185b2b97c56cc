"""The arena's pages: the stock, where they come from and where they go. Who calls holds the arena's lock, unless a function says otherwise.

A page is cold (no memory behind it), then used, then warm (in the stock), then used again, or cold again. One that was lent is cold at
once: that memory is the kernel's. Memory goes back in portions of 16 pages, on the thread that made the stock too large; a region without
a used or a warm page is unmapped. No system call is made under the lock: what one is made for is in nobody else's hands meanwhile.
"""
from libc.stdint cimport uint32_t
from proxyd_ext.cache.arena cimport Arena, PageList
from proxyd_ext.cache.region cimport Page


cdef enum:
    ASKED_ROUNDS = 64         # a page that arena_candidates named in one of the last 64 rounds comes last


cdef void page_push(PageList* pages, Page* page) noexcept nogil         # to the front
cdef void page_remove(PageList* pages, Page* page) noexcept nogil
# A page for a class and a kind, its `slots` slots free, at the front of its list. May give the lock away meanwhile. NULL: there is none
# within the limit, or the system has no memory.
cdef Page* page_take(Arena* arena, int k, uint32_t slots, int kind) noexcept nogil
# For a page whose last slot was freed, in no list any more. Gives the lock away for good.
cdef void page_leave(Arena* arena, Page* page) noexcept nogil
# Without the lock: make the stock smaller by one portion if it is too large. False: it is not.
cdef bint pages_trim(Arena* arena) noexcept nogil
