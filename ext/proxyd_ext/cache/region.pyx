"""Regions (see region.pxd): every system call of the arena is here."""
from posix.mman cimport (
    MADV_DONTFORK, MADV_DONTNEED, MADV_NOHUGEPAGE, MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_NONE,
    PROT_READ, PROT_WRITE, madvise, mmap, munmap,
)
from posix.types cimport off_t
from posix.unistd cimport close, ftruncate
from proxyd_ext.core.shim cimport INVARIANT

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <errno.h>
    #include <fcntl.h>
    #include <linux/falloc.h>
    #include <sys/mman.h>
    #if defined(__SANITIZE_ADDRESS__)
    #define PXD_ASAN 1
    #elif defined(__has_feature)
    #if __has_feature(address_sanitizer)
    #define PXD_ASAN 1
    #endif
    #endif
    #ifdef PXD_ASAN
    #include <sanitizer/asan_interface.h>
    #define pxd_forbid(at, size) __asan_poison_memory_region((at), (size))
    #define pxd_allow(at, size) __asan_unpoison_memory_region((at), (size))
    #else
    #define pxd_forbid(at, size) ((void)(at), (void)(size))
    #define pxd_allow(at, size) ((void)(at), (void)(size))
    #endif
    """
    int errno
    enum:
        EINTR, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, MADV_DONTDUMP, MFD_CLOEXEC
    int memfd_create(const char* name, unsigned int flags) noexcept nogil
    int fallocate(int fd, int mode, off_t offset, off_t size) noexcept nogil
    void pxd_forbid(void* at, size_t size) noexcept nogil
    void pxd_allow(void* at, size_t size) noexcept nogil


cdef int _punch(int fd, int64_t offset, int64_t size) noexcept nogil:
    cdef int rc
    while True:
        rc = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size)
        if rc == 0 or errno != EINTR:
            return rc


cdef int region_file() noexcept nogil:
    cdef int fd = memfd_create(b"proxyd-cache", MFD_CLOEXEC)
    # Its size is set once: growing it region by region, two threads could set it in the wrong order. A limit on the size of files
    # (RLIMIT_FSIZE) forbids that; a sandbox may forbid the punching, without which no page could be lent.
    if fd >= 0 and (ftruncate(fd, <off_t>REGIONS_MAX * REGION_BYTES) != 0 or _punch(fd, 0, PAGE_BYTES) != 0):
        close(fd)
        return -1
    return fd


cdef Region* region_map(int fd, uint32_t number) noexcept nogil:
    cdef uint8_t* found = <uint8_t*>mmap(NULL, 2 * <size_t>REGION_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    cdef uint8_t* base
    cdef size_t before
    cdef Region* region
    cdef void* pages
    if <void*>found == MAP_FAILED:
        return NULL
    # Of twice as much, keep what begins at a multiple.
    base = <uint8_t*>((<size_t>found + REGION_BYTES - 1) & ~<size_t>(REGION_BYTES - 1))
    before = base - found
    if before:
        munmap(found, before)
    munmap(base + REGION_BYTES, REGION_BYTES - before)
    region = <Region*>mmap(base, REGION_HEAD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0)
    pages = MAP_FAILED
    if <void*>region != MAP_FAILED:
        if fd >= 0:
            pages = mmap(base + REGION_HEAD, REGION_BYTES - REGION_HEAD, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                         <off_t>number * REGION_BYTES + REGION_HEAD)
        else:
            pages = mmap(base + REGION_HEAD, REGION_BYTES - REGION_HEAD, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0)
    if pages == MAP_FAILED:
        munmap(base, REGION_BYTES)
        return NULL
    # Small pages: see region.pxd. The others are wishes: clients' bytes neither in a core dump nor in a forked child.
    madvise(pages, REGION_BYTES - REGION_HEAD, MADV_NOHUGEPAGE)
    madvise(pages, REGION_BYTES - REGION_HEAD, MADV_DONTDUMP)
    madvise(pages, REGION_BYTES - REGION_HEAD, MADV_DONTFORK)
    region.number = number
    return region


cdef void region_unmap(Region* region) noexcept nogil:
    bytes_allow(<uint8_t*>region + REGION_HEAD, REGION_BYTES - REGION_HEAD)
    INVARIANT(munmap(region, REGION_BYTES) == 0)


cdef void region_punch(int fd, Page* page, uint32_t count) noexcept nogil:
    cdef uint8_t* base = page_base(page)
    # It worked for region_file; without it the next owner's bytes could be sent to somebody else.
    if fd >= 0:
        INVARIANT(_punch(fd, region_offset(base), <int64_t>count * PAGE_BYTES) == 0)
    else:
        INVARIANT(madvise(base, <size_t>count * PAGE_BYTES, MADV_DONTNEED) == 0)


cdef void bytes_forbid(void* at, size_t size) noexcept nogil:
    pxd_forbid(at, size)


cdef void bytes_allow(void* at, size_t size) noexcept nogil:
    pxd_allow(at, size)
