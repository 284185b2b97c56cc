"""One engine's ring of access records: a single writer (the engine), a single reader (the log thread), bytes in power-of-two memory.

A record that does not fit is dropped and counted: logging never slows an engine.
"""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uint8_t
from proxyd_ext.log.record cimport AccessRecord, TRIES_KEPT, TryNote


cdef enum:
    # Bytes kept of each string; the rest is cut off.
    KEEP_PATH = 2048
    KEEP_QUERY = 2048
    KEEP_USER_AGENT = 512
    KEEP_REFERER = 512
    KEEP_POLICIES = 512
    KEEP_HOST = 255            # and of a TLS server name
    KEEP_NAME = 128            # every other string
    KEEP_TRIES = TRIES_KEPT * sizeof(TryNote)
    KEEP_ALL = KEEP_PATH + KEEP_QUERY + KEEP_USER_AGENT + KEEP_REFERER + KEEP_POLICIES + KEEP_TRIES + 2 * KEEP_HOST + 11 * KEEP_NAME


cdef struct LogRing


# How a reader that sleeps is woken; shared by all rings of one reader.
ctypedef struct LogWaker:
    int sleeping               # 1: the reader waits on event_fd alone; who turns it to 0 writes there
    int event_fd


# Which records are read at all.  The control plane writes it, engines look before they make a record; shared by all rings of one reader.
ctypedef struct LogWants:
    int everything             # whatever happened
    uint32_t slow_us           # else what took at least so long ...
    uint64_t few               # ... or whose id lies below: a sample.  Faults, 5xx and sampled traces always are


# What is made of telling records that nobody follows, by class (5xx, other faults, slow ones and samples): a flood of one class, or a
# load that comes all of a sudden while everything counts as slow, costs next to nothing and leaves the others their share.
cdef enum:
    BUDGET_5XX = 0
    BUDGET_FAULT = 1
    BUDGET_OTHER = 2
    BUDGET_CLASSES = 3
    BUDGET_STEP_MS = 10        # one record in so long ...
    BUDGET_BURST = 500         # ... and so many at once


ctypedef struct LogBudget:
    int64_t[BUDGET_CLASSES] until_ms    # GCRA: when what was made has been paid for
    uint64_t[BUDGET_CLASSES] held       # records that were held back; who asks writes, anyone reads


cdef LogRing* log_ring_new(size_t bytes) noexcept nogil          # NULL: no memory.  bytes is rounded up to a power of two.
cdef void log_ring_free(LogRing* ring) noexcept nogil

# Copy a record (strings included, each cut to a stated bound) into the ring.  Never blocks; makes no system call, but for the one
# eventfd write that wakes a reader which has gone to sleep.
cdef void log_submit(LogRing* ring, const AccessRecord* record) noexcept nogil

cdef uint64_t log_dropped(const LogRing* ring) noexcept nogil    # records refused so far
cdef uint64_t log_held(const LogRing* ring, int of) noexcept nogil    # records of a class (BUDGET_*) that its budget held back

# Whether somebody reads a record of these facts.  total_us: 0 where a long time means nothing; now_ms: any clock that goes forward.
cdef bint log_wanted(LogRing* ring, int64_t now_ms, uint16_t fault, uint16_t status, uint64_t total_us, uint64_t id,
                     uint8_t traced) noexcept nogil
cdef bint log_is_telling(const LogWants* wants, LogBudget* budget, int64_t now_ms, uint16_t fault, uint16_t status, uint64_t total_us,
                         uint64_t id, uint8_t traced) noexcept nogil    # the same, leaving `everything` aside

# Before the first submit; both outlive the ring.  wants NULL: everything.
cdef void log_ring_attach(LogRing* ring, LogWaker* waker, const LogWants* wants) noexcept nogil
cdef const AccessRecord* log_ring_peek(LogRing* ring) noexcept nogil        # the oldest record, valid until popped; NULL: none
cdef void log_ring_pop(LogRing* ring) noexcept nogil                        # let go of the record that peek showed
# Position behind the newest record, read in one order with `sleeping` (head of ring.pyx).
cdef uint64_t log_ring_end(const LogRing* ring) noexcept nogil
cdef uint64_t log_ring_at(const LogRing* ring) noexcept nogil     # position of the oldest record
cdef void log_waker_sleep(LogWaker* waker, bint sleeping) noexcept nogil    # say so; look into every ring after it, then wait
cdef size_t log_ring_bytes(const LogRing* ring) noexcept nogil    # capacity
