# cython: cdivision=True
"""The ring of ring.pxd: two positions that only grow, each written by one side.

A record is a frame: eight bytes that hold its size, the `AccessRecord` itself, then its strings, to which the record's slices already
point, so that the reader renders straight from the ring.  A frame never wraps: where the rest up to the end of memory is too short, a
frame marked SKIP fills it.  Frames are multiples of eight bytes, so that rest always has room for its mark.

Each side remembers the last position it saw of the other and looks again only when that is not enough, so that in steady state
their cache lines do not travel with every record.

Sleeping reader: the engine publishes `head`, then reads `sleeping`; the reader sets `sleeping`, then reads `head`.  All four are
sequentially consistent, so at least one side sees the other (Dekker); a wake-up is never lost and the engine writes to the eventfd at
most once a sleep.
"""
from libc.stdint cimport int64_t, uint16_t, uint64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from proxyd_ext.core.shim cimport (
    INVARIANT, PXD_UNLIKELY, counter_add, load_acquire_u64, load_int, load_u32, load_u64, store_release_u64)
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.log.fields cimport RecordFields, record_to_dict
from proxyd_ext.log.posix cimport eventfd_write
from proxyd_ext.log.record cimport AccessRecord, TRACE_SAMPLED


cdef extern from *:
    """
    /* Sequential consistency, which the shim's acquire and release do not give: see the head of ring.pyx. */
    #define pxd_log_publish(p, v) ((void)__atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST))
    #define pxd_log_load(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
    static inline int pxd_log_claim_wake(int *sleeping) {
        return __atomic_load_n(sleeping, __ATOMIC_SEQ_CST) && __atomic_exchange_n(sleeping, 0, __ATOMIC_SEQ_CST);
    }
    """
    void publish "pxd_log_publish"(uint64_t* p, uint64_t value) nogil
    uint64_t load_in_order "pxd_log_load"(const uint64_t* p) nogil
    bint claim_wake "pxd_log_claim_wake"(int* sleeping) nogil
    void say_sleeping "pxd_log_publish"(int* p, int value) nogil


cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void** out, size_t alignment, size_t size)


cdef enum:
    FRAME_HEAD = 8
    LEAST_BYTES = 32_768       # holds the largest frame beside the longest rest that is skipped
    SKIP = 1 << 30             # with the size of a frame: nothing in it
    LINE = 64                  # bytes of a cache line


cdef struct LogRing:
    uint8_t* bytes
    uint64_t capacity          # a power of two
    LogWaker* waker            # NULL: the reader never sleeps
    const LogWants* wants      # NULL: everything
    uint8_t[LINE - 32] _gap_shared
    # The engine's line.
    uint64_t head              # bytes ever written
    uint64_t tail_seen         # `tail` when the engine last looked
    uint64_t dropped           # records refused
    LogBudget budget
    uint8_t[2 * LINE - 72] _gap_engine
    # The reader's line.
    uint64_t tail              # bytes ever let go of
    uint64_t head_seen         # `head` when the reader last looked
    uint8_t[LINE - 16] _gap_reader


cdef LogRing* log_ring_new(size_t bytes) noexcept nogil:
    cdef LogRing* ring = NULL
    cdef size_t capacity = LEAST_BYTES
    INVARIANT(FRAME_HEAD + sizeof(AccessRecord) + KEEP_ALL + 7 <= LEAST_BYTES / 2)
    INVARIANT(bytes < SKIP)
    while capacity < bytes:
        capacity *= 2
    if posix_memalign(<void**>&ring, LINE, sizeof(LogRing)) != 0:
        return NULL
    memset(ring, 0, sizeof(LogRing))
    ring.capacity = capacity
    if posix_memalign(<void**>&ring.bytes, LINE, capacity) != 0:
        free(ring)
        return NULL
    return ring


cdef void log_ring_free(LogRing* ring) noexcept nogil:
    if ring != NULL:
        free(ring.bytes)
        free(ring)


cdef void log_ring_attach(LogRing* ring, LogWaker* waker, const LogWants* wants) noexcept nogil:
    ring.waker = waker
    ring.wants = wants


cdef inline bint _take_budget(LogBudget* budget, int of, int64_t now_ms) noexcept nogil:
    cdef int64_t ahead = budget.until_ms[of] - now_ms
    if ahead < 0 or ahead > (BUDGET_BURST + 1) * BUDGET_STEP_MS:     # paid for; or the clock went back
        ahead = 0
    if ahead > (BUDGET_BURST - 1) * BUDGET_STEP_MS:
        counter_add(&budget.held[of], 1)
        return False
    budget.until_ms[of] = now_ms + ahead + BUDGET_STEP_MS
    return True


cdef bint log_is_telling(const LogWants* wants, LogBudget* budget, int64_t now_ms, uint16_t fault, uint16_t status, uint64_t total_us,
                         uint64_t id, uint8_t traced) noexcept nogil:
    if traced == TRACE_SAMPLED:
        return True
    if status >= 500:
        return _take_budget(budget, BUDGET_5XX, now_ms)
    if fault != 0:
        return _take_budget(budget, BUDGET_FAULT, now_ms)
    if total_us >= load_u32(&wants.slow_us) or id < load_u64(&wants.few):
        return _take_budget(budget, BUDGET_OTHER, now_ms)
    return False


cdef bint log_wanted(LogRing* ring, int64_t now_ms, uint16_t fault, uint16_t status, uint64_t total_us, uint64_t id,
                     uint8_t traced) noexcept nogil:
    if ring.wants == NULL or load_int(&ring.wants.everything):
        return True
    return log_is_telling(ring.wants, &ring.budget, now_ms, fault, status, total_us, id, traced)


cdef inline size_t _cut(Slice* s, size_t most) noexcept nogil:
    """Cut a string to `most` bytes; the bytes that are left."""
    if s.size > most:
        s.size = most
    return s.size


cdef inline uint8_t* _move(Slice* s, uint8_t* at) noexcept nogil:
    """Copy a string to `at` and point to it there; where the next one goes.  "None" stays none."""
    if s.data == NULL:
        return at
    if s.size:
        memcpy(at, s.data, s.size)
    s.data = at
    return at + s.size


cdef void log_submit(LogRing* ring, const AccessRecord* record) noexcept nogil:
    cdef AccessRecord r = record[0]
    cdef uint64_t size, skip, rest, head = ring.head
    cdef uint8_t* frame
    cdef uint8_t* at
    size = FRAME_HEAD + sizeof(AccessRecord) + 7
    size += _cut(&r.request_id, KEEP_NAME) + _cut(&r.client_ip, KEEP_NAME) + _cut(&r.listener, KEEP_NAME) + _cut(&r.route, KEEP_NAME)
    size += _cut(&r.upstream, KEEP_NAME) + _cut(&r.server, KEEP_NAME) + _cut(&r.method, KEEP_NAME) + _cut(&r.trace_id, KEEP_NAME)
    size += _cut(&r.host, KEEP_HOST) + _cut(&r.path, KEEP_PATH) + _cut(&r.query, KEEP_QUERY)
    size += _cut(&r.user_agent, KEEP_USER_AGENT) + _cut(&r.referer, KEEP_REFERER)
    size += _cut(&r.user, KEEP_NAME) + _cut(&r.tls_name, KEEP_HOST) + _cut(&r.tls_alpn, KEEP_NAME) + _cut(&r.policies, KEEP_POLICIES)
    size += _cut(&r.parent_id, KEEP_NAME) + _cut(&r.tries, KEEP_TRIES)
    size &= ~<uint64_t>7
    rest = ring.capacity - (head & (ring.capacity - 1))
    skip = rest if size > rest else 0
    if PXD_UNLIKELY(head + skip + size - ring.tail_seen > ring.capacity):
        ring.tail_seen = load_acquire_u64(&ring.tail)
        if head + skip + size - ring.tail_seen > ring.capacity:
            counter_add(&ring.dropped, 1)
            return
    frame = ring.bytes + (head & (ring.capacity - 1))
    if skip:
        (<uint64_t*>frame)[0] = skip | SKIP
        frame = ring.bytes
    (<uint64_t*>frame)[0] = size
    at = frame + FRAME_HEAD + sizeof(AccessRecord)
    at = _move(&r.request_id, at)
    at = _move(&r.client_ip, at)
    at = _move(&r.listener, at)
    at = _move(&r.route, at)
    at = _move(&r.upstream, at)
    at = _move(&r.server, at)
    at = _move(&r.method, at)
    at = _move(&r.host, at)
    at = _move(&r.path, at)
    at = _move(&r.query, at)
    at = _move(&r.user_agent, at)
    at = _move(&r.referer, at)
    at = _move(&r.trace_id, at)
    at = _move(&r.user, at)
    at = _move(&r.tls_name, at)
    at = _move(&r.tls_alpn, at)
    at = _move(&r.policies, at)
    at = _move(&r.parent_id, at)
    at = _move(&r.tries, at)
    memcpy(frame + FRAME_HEAD, &r, sizeof(AccessRecord))
    publish(&ring.head, head + skip + size)
    if ring.waker != NULL and claim_wake(&ring.waker.sleeping):
        eventfd_write(ring.waker.event_fd, 1)


cdef uint64_t log_dropped(const LogRing* ring) noexcept nogil:
    return load_u64(&ring.dropped)


cdef uint64_t log_held(const LogRing* ring, int of) noexcept nogil:
    return load_u64(&ring.budget.held[of])


cdef const AccessRecord* log_ring_peek(LogRing* ring) noexcept nogil:
    cdef uint8_t* frame
    cdef uint64_t size
    while True:
        if ring.tail == ring.head_seen:
            ring.head_seen = load_acquire_u64(&ring.head)
            if ring.tail == ring.head_seen:
                return NULL
        frame = ring.bytes + (ring.tail & (ring.capacity - 1))
        size = (<uint64_t*>frame)[0]
        if not size & SKIP:
            return <const AccessRecord*>(frame + FRAME_HEAD)
        store_release_u64(&ring.tail, ring.tail + (size & ~<uint64_t>SKIP))


cdef void log_ring_pop(LogRing* ring) noexcept nogil:
    cdef uint64_t size = (<uint64_t*>(ring.bytes + (ring.tail & (ring.capacity - 1))))[0]
    INVARIANT(ring.tail < ring.head_seen and not size & SKIP)
    store_release_u64(&ring.tail, ring.tail + size)


cdef uint64_t log_ring_end(const LogRing* ring) noexcept nogil:
    return load_in_order(&ring.head)


cdef uint64_t log_ring_at(const LogRing* ring) noexcept nogil:
    return load_u64(&ring.tail)


cdef void log_waker_sleep(LogWaker* waker, bint sleeping) noexcept nogil:
    say_sleeping(&waker.sleeping, sleeping)


cdef size_t log_ring_bytes(const LogRing* ring) noexcept nogil:
    return ring.capacity


cdef class RingProbe:
    """One ring with both its ends in Python's hands, for tests."""
    cdef LogRing* _ring

    def __cinit__(self, size_t size):
        self._ring = log_ring_new(size)
        if self._ring == NULL:
            raise MemoryError

    def __dealloc__(self):
        log_ring_free(self._ring)

    def submit(self, record):
        """Give a record to the ring, as an engine does."""
        cdef RecordFields fields = RecordFields(record)
        log_submit(self._ring, &fields.record)

    def take(self):
        """The oldest record as a dict of all its fields, or None."""
        cdef const AccessRecord* record = log_ring_peek(self._ring)
        if record == NULL:
            return None
        out = record_to_dict(record)
        log_ring_pop(self._ring)
        return out

    @property
    def dropped(self):
        return log_dropped(self._ring)

    @property
    def capacity(self):
        return log_ring_bytes(self._ring)

    @property
    def used(self):
        """Bytes between the oldest record and the end of the newest."""
        return log_ring_end(self._ring) - log_ring_at(self._ring)
