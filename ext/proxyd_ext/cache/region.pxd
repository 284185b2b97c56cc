"""Regions: the address space that the cache's bytes live in, as the kernel sees it (see arena.pxd for who gets which of them).

A region is 64 MiB of addresses at a multiple of 64 MiB, so that the region of an address is a mask away. Its first three pages' worth of
addresses hold the metadata, in private memory; the pages themselves are a stretch of one memfd, which sendfile(2) can send from. Both are
touched page by page: what was never used costs addresses only.

Pages of the kernel must stay small here (MADV_NOHUGEPAGE): to punch a hole into a part of a huge page the kernel first writes zeroes to
that part, in place, and a socket that still holds the page would send them.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    PAGE_BYTES = 65536
    REGION_BYTES = 64 << 20
    REGION_HEAD = 3 * PAGE_BYTES      # addresses of the metadata
    REGION_PAGES = 1021               # pages of a region: what is left
    REGIONS_MAX = 65536               # 4 TiB of addresses
    PAGE_WORDS = 16                   # of 64 bits: a bit a slot, 1024 slots at most

    PAGE_COLD = 0                     # no memory behind it
    PAGE_WARM = 1                     # in the stock, with its memory
    PAGE_USED = 2                     # has live slots, and stands in a list of its class
    PAGE_LEAVING = 3                  # in nobody's hands but those of the thread that gives its memory back

    # Bytes of metadata that are counted: a region's head with what rounding to the kernel's pages adds, and each page that was ever used.
    META_REGION = 8192
    META_PAGE = 160


ctypedef struct Page:
    Page* next                # in a list: of its class, of full ones, of the stock; `next` alone: of its region's cold ones
    Page* prev
    uint16_t live             # slots that are taken
    uint8_t state             # PAGE_*
    uint8_t size_class
    uint8_t kind              # ARENA_*
    uint8_t hint              # no word of `free` before this one has a bit
    int lent                  # 1: its bytes may be in the kernel's hands (atomic)
    uint32_t asked            # the round of arena_candidates that named it last
    uint64_t[PAGE_WORDS] free     # a bit for each slot that is free


ctypedef struct Region:
    void* owner               # the arena
    Region* next              # in the list of regions that have cold pages; in that of those to be unmapped
    Region* prev
    Page* cold                # pages that were used once, and are cold
    uint32_t fresh            # pages from this one on were never used
    uint32_t used             # pages that are counted as held
    uint32_t warm             # pages in the stock, or on their way from there
    uint32_t number           # its stretch of the memfd begins at number * REGION_BYTES
    bint open                 # it stands in the list of those that have cold pages
    Page[REGION_PAGES] pages


# A memfd that can be punched, for REGIONS_MAX regions; -1: there is none here.
cdef int region_file() noexcept nogil
# An untouched region, backed by the file, or by private memory when fd is -1. NULL: no addresses, or no memory.
cdef Region* region_map(int fd, uint32_t number) noexcept nogil
# Undo region_map. All its pages must be cold: a file keeps what was not punched.
cdef void region_unmap(Region* region) noexcept nogil
# Give the memory of pages that follow one another back; they read as zeroes from here on, whoever still holds the memory (a socket, a pipe)
# keeps what it has.
cdef void region_punch(int fd, Page* page, uint32_t count) noexcept nogil

# For AddressSanitizer: nobody may touch these bytes, or everybody may. Nothing in other builds.
cdef void bytes_forbid(void* at, size_t size) noexcept nogil
cdef void bytes_allow(void* at, size_t size) noexcept nogil


cdef inline Region* region_of(const void* at) noexcept nogil:
    """The region that an address of its pages, or of its metadata, belongs to."""
    return <Region*>(<size_t>at & ~<size_t>(REGION_BYTES - 1))


cdef inline uint32_t page_index(const Page* page) noexcept nogil:
    return <uint32_t>(page - region_of(page).pages)


cdef inline uint8_t* page_base(const Page* page) noexcept nogil:
    return <uint8_t*>region_of(page) + REGION_HEAD + <size_t>page_index(page) * PAGE_BYTES


cdef inline Page* page_of(const void* at) noexcept nogil:
    """The page that an address lies in."""
    return &region_of(at).pages[((<size_t>at & (REGION_BYTES - 1)) - REGION_HEAD) // PAGE_BYTES]


cdef inline int64_t region_offset(const void* at) noexcept nogil:
    """Where an address of a page stands in the memfd."""
    return <int64_t>region_of(at).number * REGION_BYTES + <int64_t>(<size_t>at & (REGION_BYTES - 1))
