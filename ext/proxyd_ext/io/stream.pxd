"""One connected socket. It hands over received bytes and takes bytes to send; back-pressure is `stream_pause` and `stream_unsent`.

Order is kept: bytes leave in the order in which they were given. A stream never calls its handler from inside a call that its owner made;
what a call discovers (a broken send) is told at the flush.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from proxyd_ext.io.poller cimport Pipe, Poller, Splice, Stream, StreamHandler, STREAM_PAUSED
from proxyd_ext.io.sys cimport sockaddr, socklen_t


# Take a connected descriptor into the poller's care.  The stream embeds in its owner; `reap` frees the owner after poller_bury.  0 or
# -errno.
cdef int stream_open(Stream* stream, Poller* poller, int fd, StreamHandler handler, void* owner,
                     void (*reap)(void*) noexcept nogil, int receive_class) noexcept nogil
# Begin to connect; STREAM_CONNECTED or STREAM_FAILED follows.  0 or -errno (then nothing follows).
cdef int stream_connect(Stream* stream, Poller* poller, const sockaddr* address, socklen_t size, StreamHandler handler, void* owner,
                        void (*reap)(void*) noexcept nogil, int receive_class) noexcept nogil
# Close at once: unsent bytes are dropped.  With reset: the peer sees RST.  The owner's memory stays valid until it is buried and reaped.
cdef void stream_close(Stream* stream, bint reset) noexcept nogil
cdef void stream_bury(Stream* stream) noexcept nogil

# Receiving.
cdef void stream_pause(Stream* stream) noexcept nogil
cdef void stream_resume(Stream* stream) noexcept nogil       # bytes follow later in this turn when the kernel has some
cdef void stream_again(Stream* stream) noexcept nogil        # tell STREAM_BYTES again for what is in `received`, later in this turn
cdef void stream_consume(Stream* stream, uint32_t size) noexcept nogil   # the first `size` received bytes are done with

# After STREAM_FAILED: take what the kernel still holds, if anything.  True: `received` has bytes.
cdef bint stream_salvage(Stream* stream) noexcept nogil

# Sending.  `stream_room` gives at least `size` (<= 256 KiB) bytes of arena to compose in; `stream_commit` sends the first `size` of them.
cdef uint8_t* stream_room(Stream* stream, uint32_t size) noexcept nogil
cdef void stream_commit(Stream* stream, const uint8_t* data, uint32_t size) noexcept nogil
cdef void stream_send(Stream* stream, const uint8_t* data, uint32_t size) noexcept nogil          # the bytes may go at once after the call
cdef void stream_send_stable(Stream* stream, const uint8_t* data, uint32_t size) noexcept nogil   # the bytes stay until the end of the turn
# Give bytes of a file straight to the kernel, behind everything that was given before.  How many it took; 0: none now: set `want_drained`.
cdef uint32_t stream_send_file(Stream* stream, int fd, int64_t offset, uint32_t size) noexcept nogil
# The same for memory: nothing of it is kept when the kernel does not take it.
cdef uint32_t stream_send_some(Stream* stream, const uint8_t* data, uint32_t size) noexcept nogil
cdef void stream_flush(Stream* stream) noexcept nogil        # give the kernel now what was composed: the stream will be closed in this turn
cdef void stream_finish(Stream* stream) noexcept nogil       # no more bytes will be given: FIN after the last one (call when drained)
cdef void poller_flush(Poller* poller) noexcept nogil        # send all that was composed
cdef void poller_run_ready(Poller* poller) noexcept nogil    # read on where there is more

# Bytes given but not yet taken by the kernel.
cdef inline uint32_t stream_unsent(const Stream* stream) noexcept nogil:
    return stream.backlog_bytes + stream.run_size

# Move `left` bytes (or, with until_end, all) from source to sink without copying.  STREAM_SPLICED is told to the source's owner when the
# last byte has
# been given to the sink; STREAM_EOF when the source ends (early, or the awaited end), after what it sent has moved.  False: no pipe;
# nothing happened.
# `limit` bounds the bytes in flight between them (the connection's buffer bound).
cdef bint splice_start(Splice* splice, Stream* source, Stream* sink, uint64_t left, bint until_end, uint32_t limit) noexcept nogil
# The same until the source ends, for bytes that come and go: a pipe is held only while it holds bytes, and STREAM_SPLICED is told to the
# source's owner whenever all there was has moved. When there is no pipe the splice stops (`active`), and STREAM_SPLICED is told, too.
cdef void splice_flow(Splice* splice, Stream* source, Stream* sink, uint32_t limit) noexcept nogil
cdef void splice_stop(Splice* splice) noexcept nogil         # at any time; harmless when not active
