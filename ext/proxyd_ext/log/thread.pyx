# cython: cdivision=True
"""How the log thread works: one thread, without the GIL for its whole life, that serves the rings of all engines.

A round takes what lay in the rings when it began, renders it into one buffer and writes that with as few calls as it can.  While
records flow there is a round every TICK_MS, so engines make no system call; after IDLE_ROUNDS without any the thread sleeps on its
eventfd alone, and an idle daemon does not wake at all (ring.pyx says how no wake-up is lost).

A sink that takes nothing is waited for with poll(); meanwhile the rings fill and then drop, which is counted.  A sink that fails
(reader gone, disk full) costs the records of that batch, counted as dropped too, and is tried again with the next batch.  A line that
such a failure tore is ended with a newline first, so that one record is lost to a reader and not two.

The *tap* takes what readers within proxyd want, as lines of JSON, whatever becomes of the sink: faults, what was slow, a sample, or all
while somebody follows.  Without a sink, and nobody following, engines make no other records.

Every call that could wait has a bound: stop() and flush() come back whatever the sink does.  A thread that is stuck inside a
write() all the same (a dead network file system) is left behind with its memory by stop(), since it may wake later.

Order of use: what the Python side wants (stop, another sink, a flush) it writes under `lock` and rings the eventfd; the thread reads it
at the top of each round, 50 times a second at most, so nothing finer than a mutex is needed.
"""
from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr
from posix.signal cimport sigfillset, sigset_t
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, clockid_t, timespec
from posix.unistd cimport close
from proxyd_ext.core.shim cimport INVARIANT, counter_add, load_int, load_u64, store_int, store_u32, store_u64
from proxyd_ext.log.posix cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, POLLIN, POLLOUT, SIG_SETMASK, eventfd, eventfd_read, eventfd_write, poll, pollfd, pthread_cond_broadcast,
    pthread_cond_destroy, pthread_cond_init, pthread_cond_t, pthread_cond_timedwait, pthread_condattr_destroy, pthread_condattr_init,
    pthread_condattr_setclock, pthread_condattr_t, pthread_create, pthread_detach, pthread_mutex_destroy, pthread_mutex_init,
    pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock, pthread_setname_np, pthread_sigmask, pthread_t, pthread_timedjoin_np)
from proxyd_ext.log.frame cimport frame_head
from proxyd_ext.log.record cimport AccessRecord, RECORD_HTTP
from proxyd_ext.log.redact cimport Redacted, redact
from proxyd_ext.log.render cimport LOG_JSON, LOG_LINE_MAX, render
from proxyd_ext.log.ring cimport (
    LogBudget, LogRing, LogWaker, LogWants, log_dropped, log_held, log_is_telling, log_ring_at, log_ring_attach, log_ring_bytes,
    log_ring_end, log_ring_free, log_ring_new, log_ring_peek, log_ring_pop, log_waker_sleep)
from proxyd_ext.log.rules cimport FRAME_MAX, LogRules
from proxyd_ext.log.sample cimport sample_keeps
from proxyd_ext.log.sink cimport Sink, sink_close, sink_open, sink_write
from proxyd_ext.log.tap cimport LogTap, tap_free, tap_init, tap_put, tap_take


cdef enum:
    RING_BYTES = 2 * 1024 * 1024    # some 5,000 records an engine: 100 ms of 50,000 requests a second
    BUFFER_BYTES = 256 * 1024       # of rendered lines
    TICK_MS = 20
    FAST_TICK_MS = 4                # once a ring was found a quarter full
    IDLE_ROUNDS = 10
    FLUSH_MS = 2_000                # how long flush() waits at most
    STOP_MS = 2_000                 # how long a stopping thread waits for its sink
    JOIN_MS = STOP_MS + 1_000       # how long stop() waits for the thread


cdef struct LogWriter:
    LogWaker waker             # event_fd also carries orders
    LogWants wants             # what engines are to make records of
    bint sinks                 # there is a sink
    int following              # the tap takes everything
    LogBudget budget           # of what it takes else
    LogTap tap
    uint8_t* line              # LOG_LINE_MAX: for the tap
    LogRing** rings            # one per engine
    int engines
    int format                 # LOG_*
    bint color
    const LogRules* rules
    pthread_t thread
    # Orders, under `lock`.
    pthread_mutex_t lock
    pthread_cond_t flushed     # flushes_done has moved, or the thread has ended
    Sink next_sink             # fd -1: no change wanted
    bint stop
    bint ended                 # the thread serves no more
    uint64_t flushes_asked
    uint64_t flushes_done
    # The thread's own.
    Sink sink                  # closed where there is none
    uint8_t* buffer            # whole lines
    size_t filled              # bytes of lines in it
    size_t sent                # of these, taken by the sink
    int first                  # ring that the next round begins with, so that a slow sink starves none
    bint mend                  # the sink ends with a piece of a line
    Redacted redacted          # the record that is rendered, if it is not as the ring has it
    # The thread writes, anyone reads.
    uint64_t written           # records
    uint64_t sampled_out       # records that the rules leave out
    uint64_t lost              # records rendered and not written


# ---------------------------------------------------------------- small things

cdef int64_t _now_ms(clockid_t clock) noexcept nogil:
    cdef timespec now
    clock_gettime(clock, &now)
    return <int64_t>now.tv_sec * 1_000 + now.tv_nsec // 1_000_000


cdef timespec _timespec(int64_t ms) noexcept nogil:
    cdef timespec t
    t.tv_sec = ms // 1_000
    t.tv_nsec = ms % 1_000 * 1_000_000
    return t


cdef bint _wait(LogWriter* w, int sink, int timeout_ms) noexcept nogil:
    """Until the eventfd rings (taken note of), `sink` has room or news (-1: not asked), or time is up.  Whether it was the sink."""
    cdef pollfd[2] p
    cdef uint64_t count
    p[0].fd = w.waker.event_fd
    p[0].events = POLLIN
    p[0].revents = 0
    p[1].fd = sink    # poll() passes over negative ones
    p[1].events = POLLOUT
    p[1].revents = 0
    if poll(p, 2, timeout_ms) <= 0:
        return False
    if p[0].revents:
        eventfd_read(w.waker.event_fd, &count)
    return p[1].revents != 0


cdef uint64_t _lines(const uint8_t* data, size_t size) noexcept nogil:
    """How many lines end in these bytes; every record is exactly one."""
    cdef const uint8_t* at = data
    cdef const uint8_t* end = data + size
    cdef uint64_t count = 0
    while at < end:
        at = <const uint8_t*>memchr(at, c'\n', end - at)
        if at == NULL:
            break
        count += 1
        at += 1
    return count


# ---------------------------------------------------------------- the thread

cdef void _lose(LogWriter* w) noexcept nogil:
    """Give up what is in the buffer."""
    if w.sent > 0 and w.buffer[w.sent - 1] != c'\n':
        w.mend = True
    counter_add(&w.lost, _lines(w.buffer + w.sent, w.filled - w.sent))
    w.filled = 0
    w.sent = 0


cdef bint _send(LogWriter* w, bint* moved) noexcept nogil:
    """Write the buffer out.  True: it is empty again (written or lost); False: the sink takes nothing now.  moved: something was taken."""
    cdef ssize_t n
    while w.sent < w.filled:
        if w.mend:
            n = sink_write(&w.sink, b"\n", 1)
            w.mend = n <= 0
        else:
            n = sink_write(&w.sink, w.buffer + w.sent, w.filled - w.sent)
            if n > 0:
                counter_add(&w.written, _lines(w.buffer + w.sent, n))
                w.sent += n
        if n == 0:
            return False
        moved[0] = True
        if n < 0:
            _lose(w)
    w.filled = 0
    w.sent = 0
    return True


cdef inline bint _tap_takes(LogWriter* w, const AccessRecord* r) noexcept nogil:
    return load_int(&w.following) or log_is_telling(
        &w.wants, &w.budget, r.time_us // 1_000, r.fault, r.status if r.kind == RECORD_HTTP or r.fault else 0,
        r.t_total_us if r.kind == RECORD_HTTP else 0, r.id, r.traced)


cdef void _take(LogWriter* w, const AccessRecord* r) noexcept nogil:
    """Give a record to the sink and to the tap, as far as they want it, without what the rules hide."""
    cdef uint8_t* at = w.buffer + w.filled
    cdef bint tapped = _tap_takes(w, r), written = w.sinks and sample_keeps(w.rules, r)
    cdef size_t size = 0
    if w.sinks and not written:
        counter_add(&w.sampled_out, 1)
    if not tapped and not written:
        return
    r = redact(w.rules, r, &w.redacted)
    if written:
        at += frame_head(w.rules, r, at)
        size = render(w.format, r, at, w.buffer + BUFFER_BYTES - at, w.color)
        INVARIANT(size > 0)
        w.filled = at + size - w.buffer
    if tapped and written and w.format == LOG_JSON:
        tap_put(&w.tap, at, size)
    elif tapped:
        size = render(LOG_JSON, r, w.line, LOG_LINE_MAX, False)
        INVARIANT(size > 0)
        tap_put(&w.tap, w.line, size)


cdef bint _round(LogWriter* w, bint* moved, int* tick_ms) noexcept nogil:
    """Render and write what the rings hold now.  True: all of it is out; False: the sink takes nothing now.  moved: there was progress."""
    cdef const AccessRecord* record
    cdef LogRing* ring
    cdef uint64_t end
    cdef int k, engine
    tick_ms[0] = TICK_MS
    for k in range(w.engines):
        engine = (w.first + k) % w.engines
        ring = w.rings[engine]
        end = log_ring_end(ring)
        if end - log_ring_at(ring) > log_ring_bytes(ring) // 4:
            tick_ms[0] = FAST_TICK_MS
        while log_ring_at(ring) < end:
            if BUFFER_BYTES - w.filled < FRAME_MAX + LOG_LINE_MAX and not _send(w, moved):
                w.first = (engine + 1) % w.engines
                return False
            record = log_ring_peek(ring)
            INVARIANT(record != NULL)
            _take(w, record)
            log_ring_pop(ring)
            moved[0] = True
    return _send(w, moved)


cdef void _take_sink(LogWriter* w) noexcept nogil:
    """Go over to the sink that reopen() left.  A line that the old one holds a piece of is written whole to the new one."""
    w.sink = w.next_sink
    w.next_sink.fd = -1
    w.mend = False
    while w.sent > 0 and w.buffer[w.sent - 1] != c'\n':
        w.sent -= 1


cdef bint _obey(LogWriter* w, uint64_t* flushes) noexcept nogil:
    """Read the orders.  Whether to stop; flushes: how many were asked for."""
    cdef Sink old
    cdef bint stop
    old.fd = -1
    pthread_mutex_lock(&w.lock)
    if w.next_sink.fd >= 0:
        old = w.sink
        _take_sink(w)
    flushes[0] = w.flushes_asked
    stop = w.stop
    pthread_mutex_unlock(&w.lock)
    sink_close(&old)    # a network file system may take its time over this, and nobody should wait for the lock meanwhile
    return stop


cdef void _tell_flushed(LogWriter* w, uint64_t flushes, bint ended) noexcept nogil:
    if flushes == w.flushes_done and not ended:
        return    # only this thread writes flushes_done
    pthread_mutex_lock(&w.lock)
    w.flushes_done = flushes
    w.ended = ended
    pthread_cond_broadcast(&w.flushed)
    pthread_mutex_unlock(&w.lock)


cdef void _sleep(LogWriter* w) noexcept nogil:
    """Until an engine submits or an order comes."""
    cdef bint empty = True
    cdef int engine
    log_waker_sleep(&w.waker, True)
    for engine in range(w.engines):
        if log_ring_end(w.rings[engine]) != log_ring_at(w.rings[engine]):
            empty = False
    if empty:
        _wait(w, -1, -1)
    log_waker_sleep(&w.waker, False)


cdef void _lose_all(LogWriter* w) noexcept nogil:
    """Time is up: what is left in the buffer and the rings is not going to be written."""
    cdef uint64_t end
    cdef int engine
    _lose(w)
    for engine in range(w.engines):
        end = log_ring_end(w.rings[engine])
        while log_ring_at(w.rings[engine]) < end and log_ring_peek(w.rings[engine]) != NULL:
            log_ring_pop(w.rings[engine])
            counter_add(&w.lost, 1)


cdef void* _serve(void* argument) noexcept nogil:
    cdef LogWriter* w = <LogWriter*>argument
    cdef uint64_t flushes = 0
    cdef int64_t left_ms = -1, stop_at_ms = -1
    cdef int idle_rounds = 0, tick_ms = TICK_MS
    cdef bint stop, moved, room = False
    while True:
        stop = _obey(w, &flushes)
        if stop:
            if stop_at_ms < 0:
                stop_at_ms = _now_ms(CLOCK_MONOTONIC) + STOP_MS
            left_ms = stop_at_ms - _now_ms(CLOCK_MONOTONIC)
        moved = False
        if _round(w, &moved, &tick_ms):
            if stop:
                break
            _tell_flushed(w, flushes, False)
            room = False
            idle_rounds = 0 if moved else idle_rounds + 1
            if idle_rounds < IDLE_ROUNDS:
                _wait(w, -1, tick_ms)
            else:
                _sleep(w)
        elif stop and left_ms <= 0:
            _lose_all(w)
            break
        elif room and not moved:
            # poll() says there is room and the sink takes nothing: ask again later, not at once.
            _wait(w, -1, TICK_MS)
            room = False
        else:
            room = _wait(w, w.sink.fd, <int>left_ms)
    _tell_flushed(w, flushes, True)
    return NULL


# ---------------------------------------------------------------- birth and death

cdef void log_writer_free(LogWriter* w) noexcept nogil:
    cdef int engine
    if w.rings != NULL:
        for engine in range(w.engines):
            log_ring_free(w.rings[engine])
    sink_close(&w.sink)
    sink_close(&w.next_sink)
    if w.waker.event_fd >= 0:
        close(w.waker.event_fd)
    pthread_cond_destroy(&w.flushed)
    pthread_mutex_destroy(&w.lock)
    tap_free(&w.tap)
    free(w.rings)
    free(w.buffer)
    free(w.line)
    free(w)


cdef LogWriter* _writer_new(int engines, int format, bint color, const LogRules* rules) noexcept nogil:
    """A writer without a sink; NULL: no memory or descriptors."""
    cdef LogWriter* w = <LogWriter*>calloc(1, sizeof(LogWriter))
    cdef pthread_condattr_t how
    cdef int engine
    cdef bint whole
    if w == NULL:
        return NULL
    w.engines = engines
    w.format = format
    w.color = color
    w.rules = rules
    w.sink.fd = -1
    w.next_sink.fd = -1
    w.wants.slow_us = <uint32_t>-1
    pthread_mutex_init(&w.lock, NULL)
    pthread_condattr_init(&how)
    pthread_condattr_setclock(&how, CLOCK_MONOTONIC)
    pthread_cond_init(&w.flushed, &how)
    pthread_condattr_destroy(&how)
    w.waker.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    w.buffer = <uint8_t*>malloc(BUFFER_BYTES)
    w.line = <uint8_t*>malloc(LOG_LINE_MAX)
    w.rings = <LogRing**>calloc(engines, sizeof(LogRing*))
    whole = tap_init(&w.tap) == 0 and w.waker.event_fd >= 0 and w.buffer != NULL and w.line != NULL and w.rings != NULL
    for engine in range(engines if whole else 0):
        w.rings[engine] = log_ring_new(RING_BYTES)
        if w.rings[engine] == NULL:
            whole = False
            break
        log_ring_attach(w.rings[engine], &w.waker, &w.wants)
    if not whole:
        log_writer_free(w)
        return NULL
    return w


cdef int log_writer_new(LogWriter** out, int fd, int engines, int format, bint color, const LogRules* rules) noexcept nogil:
    cdef LogWriter* w = _writer_new(engines, format, color, rules)
    cdef int failed
    if w == NULL:
        return ENOMEM
    w.sinks = w.wants.everything = fd >= 0
    failed = sink_open(&w.sink, fd) if fd >= 0 else 0
    if failed:
        log_writer_free(w)
        return -failed
    out[0] = w
    return 0


cdef int log_writer_start(LogWriter* w) noexcept nogil:
    """Every signal is blocked in the thread: handlers belong to the main thread, and SIGPIPE may kill nobody."""
    cdef sigset_t every, before
    cdef int failed
    sigfillset(&every)
    pthread_sigmask(SIG_SETMASK, &every, &before)
    failed = pthread_create(&w.thread, NULL, _serve, w)
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    if not failed:
        pthread_setname_np(w.thread, b"proxyd-log")
    return failed


# ---------------------------------------------------------------- orders

cdef int log_writer_stop(LogWriter* w) noexcept nogil:
    cdef timespec until = _timespec(_now_ms(CLOCK_REALTIME) + JOIN_MS)
    cdef int failed
    pthread_mutex_lock(&w.lock)
    w.stop = True
    pthread_mutex_unlock(&w.lock)
    eventfd_write(w.waker.event_fd, 1)
    failed = pthread_timedjoin_np(w.thread, NULL, &until)
    if failed:
        pthread_detach(w.thread)
    return failed


cdef int log_writer_reopen(LogWriter* w, int fd) noexcept nogil:
    cdef Sink sink
    cdef int failed = sink_open(&sink, fd)
    if failed:
        return -failed
    pthread_mutex_lock(&w.lock)
    sink_close(&w.next_sink)
    w.next_sink = sink
    pthread_mutex_unlock(&w.lock)
    eventfd_write(w.waker.event_fd, 1)
    return 0


cdef void log_writer_flush(LogWriter* w) noexcept nogil:
    cdef timespec until = _timespec(_now_ms(CLOCK_MONOTONIC) + FLUSH_MS)
    cdef uint64_t mine
    pthread_mutex_lock(&w.lock)
    w.flushes_asked += 1
    mine = w.flushes_asked
    eventfd_write(w.waker.event_fd, 1)
    while w.flushes_done < mine and not w.ended:
        if pthread_cond_timedwait(&w.flushed, &w.lock, &until) != 0:
            break
    pthread_mutex_unlock(&w.lock)


# ---------------------------------------------------------------- the tap

cdef void log_writer_follow(LogWriter* w, bint everything) noexcept nogil:
    store_int(&w.following, everything)
    store_int(&w.wants.everything, everything or w.sinks)


cdef void log_writer_want(LogWriter* w, uint32_t slow_us, uint64_t few) noexcept nogil:
    store_u32(&w.wants.slow_us, slow_us)
    store_u64(&w.wants.few, few)


cdef int log_writer_tap_fd(const LogWriter* w) noexcept nogil:
    return w.tap.event_fd


cdef size_t log_writer_tap(LogWriter* w, const uint8_t** out) noexcept nogil:
    return tap_take(&w.tap, out)


cdef uint64_t log_writer_tap_dropped(const LogWriter* w) noexcept nogil:
    return load_u64(&w.tap.dropped)


cdef uint64_t log_writer_tap_held(const LogWriter* w, int of) noexcept nogil:
    """A record is held back by its engine, which then makes none, or by the thread."""
    cdef uint64_t count = load_u64(&w.budget.held[of])
    cdef int engine
    for engine in range(w.engines):
        count += log_held(w.rings[engine], of)
    return count


# ---------------------------------------------------------------- what others read

cdef LogRing* log_writer_ring(LogWriter* w, int engine) noexcept nogil:
    return w.rings[engine] if 0 <= engine < w.engines else NULL


cdef uint64_t log_writer_written(const LogWriter* w) noexcept nogil:
    return load_u64(&w.written)


cdef uint64_t log_writer_sampled_out(const LogWriter* w) noexcept nogil:
    return load_u64(&w.sampled_out)


cdef uint64_t log_writer_dropped(const LogWriter* w) noexcept nogil:
    cdef uint64_t count = load_u64(&w.lost)
    cdef int engine
    for engine in range(w.engines):
        count += log_dropped(w.rings[engine])
    return count


cdef bint log_writer_sleeps(const LogWriter* w) noexcept nogil:
    return load_int(&w.waker.sleeping) == 1
