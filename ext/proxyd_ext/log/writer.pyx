"""`AccessLog`, the Python face of the log thread; how that works stands in thread.pyx."""
cimport cython
from cpython.ref cimport Py_INCREF
from libc.stdint cimport uint8_t
from proxyd_ext.log.fields cimport RecordFields
from proxyd_ext.log.render cimport format_of
from proxyd_ext.log.ring cimport BUDGET_5XX, BUDGET_FAULT, BUDGET_OTHER, LogRing, log_submit
from proxyd_ext.log.rules cimport Rules
from proxyd_ext.log.thread cimport (
    log_writer_dropped, log_writer_flush, log_writer_follow, log_writer_free, log_writer_new, log_writer_reopen, log_writer_ring,
    log_writer_sampled_out, log_writer_sleeps, log_writer_start, log_writer_stop, log_writer_tap, log_writer_tap_dropped,
    log_writer_tap_fd, log_writer_tap_held, log_writer_want, log_writer_written)

import os


cdef enum:
    STATE_NEW = 0
    STATE_RUNNING = 1
    STATE_STOPPED = 2
    STATE_ABANDONED = 3    # the thread did not come back: nothing that it uses may be freed


_CLASS_WORDS = {"5xx": BUDGET_5XX, "fault": BUDGET_FAULT, "other": BUDGET_OTHER}


cdef int _raise_for(int error) except -1:
    if error:
        raise OSError(error, os.strerror(error))
    return 0


@cython.no_gc    # it holds rules only, and these until its thread has ended
cdef class AccessLog:
    """Access records of `engines` engines, written to a duplicate of `fd` as lines of `format` (json, combined, pretty, haproxy, logfmt).
    fd -1: there is no sink, and the records are for the tap.

    color: for pretty, whether status codes are coloured.  rules: what is done with records before that; by default, nothing.
    OSError: fd cannot be duplicated.  ValueError: no such format, no engines.
    """

    def __cinit__(self, int fd, str format not None, int engines, bint color=False, Rules rules=None):
        self._state = STATE_NEW
        if engines < 1:
            raise ValueError("an access log needs at least one engine")
        self._rules = Rules() if rules is None else rules
        _raise_for(log_writer_new(&self._writer, fd, engines, format_of(format), color, &self._rules.rules))

    def __dealloc__(self):
        if self._writer == NULL:
            return
        if self._state == STATE_RUNNING:
            self._end()
        if self._state != STATE_ABANDONED:
            log_writer_free(self._writer)

    cdef LogRing* ring(self, int engine) noexcept nogil:
        return log_writer_ring(self._writer, engine)

    cdef void _end(self) noexcept:
        cdef int failed
        self._state = STATE_STOPPED    # before the GIL goes: only one caller may join
        with nogil:
            failed = log_writer_stop(self._writer)
        if failed:
            self._state = STATE_ABANDONED
            Py_INCREF(self._rules)    # the thread may read them yet

    def start(self):
        """Start the thread.  RuntimeError: it was started before; OSError: there can be no more threads."""
        if self._state != STATE_NEW:
            raise RuntimeError("an access log is started once")
        _raise_for(log_writer_start(self._writer))
        self._state = STATE_RUNNING

    def stop(self):
        """Write what is in the rings, for two seconds at most, and end the thread.  What could not be written counts as dropped."""
        if self._state == STATE_RUNNING:
            self._end()

    def reopen(self, int fd):
        """Go over to a duplicate of `fd` with the next batch; after a flush() that has happened.  OSError: fd cannot be duplicated."""
        _raise_for(log_writer_reopen(self._writer, fd))

    def flush(self):
        """Wait, for two seconds at most, until everything submitted before is written.  Without a running thread: return at once."""
        if self._state == STATE_RUNNING:
            with nogil:
                log_writer_flush(self._writer)

    def submit(self, int engine, record):
        """Give a record to an engine's ring, as that engine would; for tests and tools.  ValueError: there is no such engine."""
        cdef RecordFields fields = RecordFields(record)
        cdef LogRing* ring = self.ring(engine)
        if ring == NULL:
            raise ValueError(f"no engine {engine}")
        log_submit(ring, &fields.record)

    def want(self, unsigned int slow_us, unsigned long long one_in):
        """What the tap takes beside faults, 5xx and sampled traces: what took at least `slow_us`, and one record in `one_in` (0: none)."""
        log_writer_want(self._writer, slow_us, 0 if one_in == 0 else 0xFFFFFFFFFFFFFFFF // one_in)

    def follow(self, bint everything):
        """Whether the tap takes every record."""
        log_writer_follow(self._writer, everything)

    def tap_fileno(self):
        """A descriptor that is readable while `take` has something to give; it is ours."""
        return log_writer_tap_fd(self._writer)

    def take(self):
        """The lines that the tap holds, as JSON whatever the format is.  For one thread."""
        cdef const uint8_t* lines
        cdef size_t size = log_writer_tap(self._writer, &lines)
        return (<const char*>lines)[:size]

    @property
    def tap_dropped(self):
        """Records that the tap had no room for."""
        return log_writer_tap_dropped(self._writer)

    @property
    def tap_held(self):
        """Telling records that were not made for the tap, since there was no budget for more of their class: class -> count."""
        return {word: log_writer_tap_held(self._writer, of) for word, of in _CLASS_WORDS.items()}

    @property
    def dropped(self):
        """Records that were not written: their ring was full, or the sink failed."""
        return log_writer_dropped(self._writer)

    @property
    def written(self):
        """Records that the sink took."""
        return log_writer_written(self._writer)

    @property
    def sampled_out(self):
        """Records that the rules leave out."""
        return log_writer_sampled_out(self._writer)

    @property
    def sleeping(self):
        """Whether the thread waits for a record without looking by itself; for tests and tools."""
        return log_writer_sleeps(self._writer)
