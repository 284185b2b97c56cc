"""One engine's ring of access records: a single writer (the engine), a single reader (the log thread), bytes in power-of-two memory.

A record that does not fit is dropped and counted: logging never slows an engine.
"""
from libc.stdint cimport uint64_t, uint8_t
from proxyd_ext.log.record cimport AccessRecord


cdef enum:
    # Bytes kept of each string; the rest is cut off.
    KEEP_PATH = 2048
    KEEP_QUERY = 2048
    KEEP_USER_AGENT = 512
    KEEP_REFERER = 512
    KEEP_POLICIES = 512
    KEEP_HOST = 255            # and of a TLS server name
    KEEP_NAME = 128            # every other string
    KEEP_ALL = KEEP_PATH + KEEP_QUERY + KEEP_USER_AGENT + KEEP_REFERER + KEEP_POLICIES + 2 * KEEP_HOST + 10 * KEEP_NAME


cdef struct LogRing


# How a reader that sleeps is woken; shared by all rings of one reader.
ctypedef struct LogWaker:
    int sleeping               # 1: the reader waits on event_fd alone; who turns it to 0 writes there
    int event_fd


cdef LogRing* log_ring_new(size_t bytes) noexcept nogil          # NULL: no memory.  bytes is rounded up to a power of two.
cdef void log_ring_free(LogRing* ring) noexcept nogil

# Copy a record (strings included, each cut to a stated bound) into the ring.  Never blocks; makes no system call, but for the one
# eventfd write that wakes a reader which has gone to sleep.
cdef void log_submit(LogRing* ring, const AccessRecord* record) noexcept nogil

cdef uint64_t log_dropped(const LogRing* ring) noexcept nogil    # records refused so far

# The reader's side.
cdef void log_ring_attach(LogRing* ring, LogWaker* waker) noexcept nogil    # before the first submit; waker outlives the ring
cdef const AccessRecord* log_ring_peek(LogRing* ring) noexcept nogil        # the oldest record, valid until popped; NULL: none
cdef void log_ring_pop(LogRing* ring) noexcept nogil                        # let go of the record that peek showed
# Position behind the newest record, read in one order with `sleeping` (head of ring.pyx).
cdef uint64_t log_ring_end(const LogRing* ring) noexcept nogil
cdef uint64_t log_ring_at(const LogRing* ring) noexcept nogil     # position of the oldest record
cdef void log_waker_sleep(LogWaker* waker, bint sleeping) noexcept nogil    # say so; look into every ring after it, then wait
cdef size_t log_ring_bytes(const LogRing* ring) noexcept nogil    # capacity
