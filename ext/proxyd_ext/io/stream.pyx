# cython: cdivision=True
"""Streams (see stream.pxd), over edge-triggered epoll.

What edge-triggering asks for: after an event one must go on until the kernel has no more. A read that returns less than it had room for
proves
that, so no read is made only to see EAGAIN; a FIN that the event already announced is then the next thing, so no read is made to see the 0.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memmove, memset
from proxyd_ext.core.buffer cimport BUFFER_CLASSES, Buffer, buffer_class, buffer_free, buffer_new
from proxyd_ext.core.shim cimport INVARIANT, PXD_LIKELY, PXD_UNLIKELY
from proxyd_ext.io.poller cimport (
    ARENA_BYTES, STREAM_BLOCKED, STREAM_BROKEN, STREAM_BYTES, STREAM_CONNECTED, STREAM_CONNECTING, STREAM_DRAINED, STREAM_ENDED,
    STREAM_ENDING, STREAM_EOF, STREAM_ERRORED, STREAM_FAILED, STREAM_HELD, STREAM_HUNG, STREAM_LOST, STREAM_NAGLE,
    STREAM_QUEUED_FLUSH, STREAM_QUEUED_READY, STREAM_READABLE, STREAM_SENT, STREAM_SPLICED, STREAM_SPOKE, Flusher, Pollable, poller_add,
    poller_bury, poller_give_pipe, poller_remove, poller_take_pipe,
)
from proxyd_ext.io.sys cimport (
    EAGAIN, EINPROGRESS, EINTR, ENOMEM, EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, IPPROTO_TCP, MSG_NOSIGNAL, SHUT_WR,
    SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, SO_ERROR, SO_LINGER, SPLICE_F_MORE, SPLICE_F_MOVE, SPLICE_F_NONBLOCK,
    TCP_NODELAY, AF_UNIX, close, connect, errno, getsockopt, linger, recv, send, sendfile, setsockopt, shutdown, socket, splice,
)

cdef enum:
    SPLICE_ROUNDS = 16        # fills and drains of a pipe before other streams get their turn
    SMALL_BYTES = 512         # less than a segment of any path
    DIRECT_BYTES = 16384      # longer sends go straight to the kernel instead of through the arena


cdef void _setup(Stream* stream, Poller* poller, int fd, StreamHandler handler, void* owner, void (*reap)(void*) noexcept nogil,
                 int receive_class) noexcept nogil:
    memset(stream, 0, sizeof(Stream))
    stream.pollable.on_ready = _on_ready
    stream.pollable.reap = <void (*)(Pollable*) noexcept nogil>reap
    stream.fd = fd
    stream.poller = poller
    stream.handler = handler
    stream.owner = owner
    stream.receive_class = receive_class


cdef int stream_open(Stream* stream, Poller* poller, int fd, StreamHandler handler, void* owner,
                     void (*reap)(void*) noexcept nogil, int receive_class) noexcept nogil:
    _setup(stream, poller, fd, handler, owner, reap, receive_class)
    return poller_add(poller, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &stream.pollable)


cdef int stream_connect(Stream* stream, Poller* poller, const sockaddr* address, socklen_t size, StreamHandler handler, void* owner,
                        void (*reap)(void*) noexcept nogil, int receive_class) noexcept nogil:
    cdef int fd = socket(address.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    cdef int result
    _setup(stream, poller, fd, handler, owner, reap, receive_class)
    if fd < 0:
        return -errno
    stream.flags = STREAM_CONNECTING | STREAM_NAGLE if address.sa_family != AF_UNIX else STREAM_CONNECTING
    if connect(fd, address, size) < 0 and errno != EINPROGRESS:
        # A unix socket with a full queue says EAGAIN: for us that server refuses.
        result = -errno
    else:
        result = poller_add(poller, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &stream.pollable)
    if result < 0:
        close(fd)
        stream.fd = -1
    return result


cdef void _drop_backlog(Stream* stream) noexcept nogil:
    cdef Buffer* buffer
    while stream.backlog != NULL:
        buffer = stream.backlog
        stream.backlog = buffer.next
        buffer_free(stream.poller.buffers, buffer)
    stream.backlog_last = NULL
    stream.backlog_bytes = 0


cdef void stream_close(Stream* stream, bint reset) noexcept nogil:
    cdef linger abort_now
    if stream.fd < 0:
        return
    if stream.taking != NULL:
        splice_stop(stream.taking)
    if stream.giving != NULL:
        splice_stop(stream.giving)
    if reset:
        abort_now.l_onoff = 1
        abort_now.l_linger = 0
        setsockopt(stream.fd, SOL_SOCKET, SO_LINGER, &abort_now, sizeof(abort_now))
    poller_remove(stream.poller, stream.fd)
    close(stream.fd)
    stream.fd = -1
    stream.run_size = 0
    if stream.received != NULL:
        buffer_free(stream.poller.buffers, stream.received)
        stream.received = NULL
    _drop_backlog(stream)


cdef void stream_bury(Stream* stream) noexcept nogil:
    INVARIANT(stream.fd < 0)
    # It may still stand in the flush list, which is emptied before the dead are reaped, or in the ready list, which poller_reap clears of
    # it.
    poller_bury(stream.poller, &stream.pollable)


# ---- receiving ----

cdef void _push_ready(Stream* stream) noexcept nogil:
    cdef Poller* poller = stream.poller
    if stream.flags & STREAM_QUEUED_READY:
        return
    stream.flags |= STREAM_QUEUED_READY
    stream.next_ready = NULL
    if poller.ready_last == NULL:
        poller.ready_first = stream
    else:
        poller.ready_last.next_ready = stream
    poller.ready_last = stream


cdef void stream_pause(Stream* stream) noexcept nogil:
    stream.flags |= STREAM_PAUSED


cdef void stream_resume(Stream* stream) noexcept nogil:
    stream.flags &= ~<uint32_t>STREAM_PAUSED
    if stream.flags & STREAM_READABLE and stream.fd >= 0:
        _push_ready(stream)


cdef void stream_again(Stream* stream) noexcept nogil:
    stream.flags |= STREAM_HELD
    _push_ready(stream)


cdef void stream_consume(Stream* stream, uint32_t size) noexcept nogil:
    cdef Buffer* buffer = stream.received
    buffer.start += size
    INVARIANT(buffer.start <= buffer.end)
    if buffer.start == buffer.end:
        buffer_free(stream.poller.buffers, buffer)
        stream.received = NULL


cdef void _tell_end(Stream* stream) noexcept nogil:
    stream.flags = (stream.flags | STREAM_ENDED) & ~<uint32_t>STREAM_READABLE
    stream.handler(stream.owner, STREAM_EOF)


cdef void _fail(Stream* stream, int error) noexcept nogil:
    stream.error = error
    stream.flags &= ~<uint32_t>STREAM_READABLE
    stream.handler(stream.owner, STREAM_FAILED)


cdef Buffer* _grown(Stream* stream) noexcept nogil:
    """The received bytes in a buffer of the next class; NULL when there is none."""
    cdef Buffer* small = stream.received
    cdef Buffer* large
    if small.size_class + 1 >= BUFFER_CLASSES:
        return NULL
    large = buffer_new(stream.poller.buffers, small.size_class + 1)
    if large == NULL:
        return NULL
    memcpy(large.data, small.data, small.end)
    large.start = small.start
    large.end = small.end
    buffer_free(stream.poller.buffers, small)
    stream.received = large
    return large


cdef void _receive(Stream* stream) noexcept nogil:
    """One read, and what follows from it."""
    cdef Buffer* buffer = stream.received
    cdef uint32_t room
    cdef ssize_t n
    if stream.flags & STREAM_ENDED:
        stream.flags &= ~<uint32_t>STREAM_READABLE
        if stream.flags & STREAM_ERRORED:
            stream.handler(stream.owner, STREAM_HUNG)       # a reset behind the FIN
        return
    if buffer == NULL:
        buffer = buffer_new(stream.poller.buffers, stream.receive_class)
        if buffer == NULL:
            _fail(stream, ENOMEM)
            return
        stream.received = buffer
    elif buffer.start > 0:
        # Unconsumed bytes move to the front, so that a message never wraps.
        memmove(buffer.data, buffer.data + buffer.start, buffer.end - buffer.start)
        buffer.end -= buffer.start
        buffer.start = 0
    room = buffer.cap - buffer.end
    if PXD_UNLIKELY(room == 0):
        # The owner waits for more than this buffer holds: its limits have grown since it was taken (a reload).
        buffer = _grown(stream)
        if buffer == NULL:
            _fail(stream, ENOMEM)
            return
        room = buffer.cap - buffer.end
    n = recv(stream.fd, buffer.data + buffer.end, room, 0)
    if PXD_LIKELY(n > 0):
        buffer.end += <uint32_t>n
        if <uint32_t>n < room and not stream.flags & (STREAM_ENDING | STREAM_ERRORED):
            stream.flags &= ~<uint32_t>STREAM_READABLE
        stream.handler(stream.owner, STREAM_BYTES)
        if stream.fd < 0:
            return
        if (<uint32_t>n < room and stream.flags & (STREAM_ENDING | STREAM_PAUSED | STREAM_BROKEN) == STREAM_ENDING
                and stream.taking == NULL):
            _tell_end(stream)
        elif stream.flags & STREAM_PAUSED:
            if stream.flags & STREAM_ERRORED:
                stream.handler(stream.owner, STREAM_HUNG)   # the reset came with these bytes: its event will not come again
        elif stream.flags & STREAM_READABLE:
            _push_ready(stream)
        return
    if buffer.start == buffer.end:
        stream.received = NULL
        buffer_free(stream.poller.buffers, buffer)
    if n == 0 and stream.flags & STREAM_BROKEN:
        stream.flags &= ~<uint32_t>STREAM_READABLE   # a reset: the send that failed has taken its error, and the flush will tell it
    elif n == 0:
        _tell_end(stream)
    elif errno == EAGAIN or errno == EINTR:
        stream.flags &= ~<uint32_t>STREAM_READABLE
    else:
        _fail(stream, errno)


cdef bint stream_salvage(Stream* stream) noexcept nogil:
    cdef ssize_t n
    if stream.received == NULL:
        stream.received = buffer_new(stream.poller.buffers, stream.receive_class)
        if stream.received == NULL:
            return False
    n = recv(stream.fd, stream.received.data + stream.received.end, stream.received.cap - stream.received.end, 0)
    if n > 0:
        stream.received.end += <uint32_t>n
    if stream.received.end > stream.received.start:
        return True
    buffer_free(stream.poller.buffers, stream.received)
    stream.received = NULL
    return False


cdef void poller_run_ready(Poller* poller) noexcept nogil:
    """One pass over the streams that are ready now; those that become ready meanwhile wait for the next pass, so that none starves the
    others."""
    cdef Stream* stream = poller.ready_first
    cdef Stream* following
    poller.ready_first = NULL
    poller.ready_last = NULL
    while stream != NULL:
        following = stream.next_ready
        stream.flags &= ~<uint32_t>STREAM_QUEUED_READY
        if stream.fd >= 0:
            if stream.flags & STREAM_HELD:
                stream.flags &= ~<uint32_t>STREAM_HELD
                if stream.received != NULL:
                    stream.handler(stream.owner, STREAM_BYTES)
                if stream.fd >= 0 and stream.flags & STREAM_READABLE and not stream.flags & STREAM_PAUSED:
                    _push_ready(stream)
            elif stream.flags & STREAM_READABLE:
                if stream.taking != NULL:
                    _splice_step(stream.taking)
                elif not stream.flags & STREAM_PAUSED:
                    _receive(stream)
        stream = following


# ---- sending ----

cdef void _push_flush(Stream* stream) noexcept nogil:
    cdef Poller* poller = stream.poller
    if stream.flags & STREAM_QUEUED_FLUSH:
        return
    stream.flags |= STREAM_QUEUED_FLUSH
    stream.next_flush = NULL
    if poller.flush_last == NULL:
        poller.flush_first = stream
    else:
        poller.flush_last.next_flush = stream
    poller.flush_last = stream


cdef void _break(Stream* stream, int error) noexcept nogil:
    stream.error = error
    stream.flags |= STREAM_BROKEN
    stream.run_size = 0
    _drop_backlog(stream)
    _push_flush(stream)


cdef void _keep(Stream* stream, const uint8_t* data, uint32_t size) noexcept nogil:
    """Copy bytes that the kernel does not take now to the end of the backlog."""
    cdef Buffer* last = stream.backlog_last
    cdef uint32_t part
    while size > 0:
        if last == NULL or last.end == last.cap:
            last = buffer_new(stream.poller.buffers, buffer_class(size if size < 65536 else 65536))
            if last == NULL:
                _break(stream, ENOMEM)
                return
            if stream.backlog_last == NULL:
                stream.backlog = last
            else:
                stream.backlog_last.next = last
            stream.backlog_last = last
        part = last.cap - last.end
        if part > size:
            part = size
        memcpy(last.data + last.end, data, part)
        last.end += part
        data += part
        size -= part
        stream.backlog_bytes += part


cdef void _speak(Stream* stream, uint32_t size) noexcept nogil:
    """STREAM_NAGLE, and something is about to be sent. Nagle's algorithm holds back what is small only while something else is under way
    (RFC 9293 §3.7.4), so one small send needs no option, and a connection that carries one request is spared the call."""
    cdef int on = 1
    if size <= SMALL_BYTES and not stream.flags & STREAM_SPOKE:
        stream.flags |= STREAM_SPOKE
        return
    stream.flags &= ~<uint32_t>STREAM_NAGLE
    setsockopt(stream.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))


cdef void _write(Stream* stream, const uint8_t* data, uint32_t size) noexcept nogil:
    """Give bytes to the kernel now; what it does not take is kept."""
    cdef ssize_t n
    if stream.backlog != NULL or stream.flags & (STREAM_BLOCKED | STREAM_CONNECTING):
        _keep(stream, data, size)
        return
    if PXD_UNLIKELY(stream.flags & STREAM_NAGLE):
        _speak(stream, size)
    n = send(stream.fd, data, size, MSG_NOSIGNAL)
    if PXD_LIKELY(n == <ssize_t>size):
        stream.flags |= STREAM_SENT
        return
    if n < 0:
        if errno != EAGAIN and errno != EINTR:
            _break(stream, errno)
            return
        n = 0
    stream.flags |= STREAM_BLOCKED | STREAM_SENT if n > 0 else STREAM_BLOCKED
    _keep(stream, data + n, size - <uint32_t>n)


cdef inline void _flush_run(Stream* stream) noexcept nogil:
    cdef uint32_t size = stream.run_size
    if size > 0:
        stream.run_size = 0
        _write(stream, stream.run, size)


cdef void _write_backlog(Stream* stream) noexcept nogil:
    cdef Buffer* buffer
    cdef ssize_t n
    stream.flags &= ~<uint32_t>STREAM_BLOCKED
    if stream.flags & STREAM_NAGLE:
        _speak(stream, stream.backlog_bytes)
    while stream.backlog != NULL:
        buffer = stream.backlog
        n = send(stream.fd, buffer.data + buffer.start, buffer.end - buffer.start, MSG_NOSIGNAL)
        if n < 0:
            if errno == EAGAIN or errno == EINTR:
                stream.flags |= STREAM_BLOCKED
                return
            _break(stream, errno)
            return
        stream.flags |= STREAM_SENT
        buffer.start += <uint32_t>n
        stream.backlog_bytes -= <uint32_t>n
        if buffer.start < buffer.end:
            stream.flags |= STREAM_BLOCKED
            return
        stream.backlog = buffer.next
        if stream.backlog == NULL:
            stream.backlog_last = NULL
        buffer_free(stream.poller.buffers, buffer)


cdef uint8_t* stream_room(Stream* stream, uint32_t size) noexcept nogil:
    cdef Poller* poller = stream.poller
    cdef Stream* other
    INVARIANT(size <= ARENA_BYTES // 2)
    if poller.arena_used + size > ARENA_BYTES:
        # A rare turn with very many answers: send what is there; nothing is told to anybody yet.
        other = poller.flush_first
        while other != NULL:
            if other.fd >= 0:
                _flush_run(other)
            other = other.next_flush
        poller.arena_used = 0
    return poller.arena + poller.arena_used


cdef void stream_commit(Stream* stream, const uint8_t* data, uint32_t size) noexcept nogil:
    stream.poller.arena_used += size
    stream_send_stable(stream, data, size)


cdef inline bint _takes_nothing(Stream* stream) noexcept nogil:
    if stream.flags & STREAM_BROKEN:
        _push_flush(stream)   # the owner is told (again) that it failed
        return True
    return stream.fd < 0


cdef void stream_send_stable(Stream* stream, const uint8_t* data, uint32_t size) noexcept nogil:
    if _takes_nothing(stream) or size == 0:
        return
    if stream.backlog != NULL or stream.flags & STREAM_CONNECTING:
        _flush_run(stream)
        _keep(stream, data, size)
        return
    if stream.run_size > 0:
        if stream.run + stream.run_size == data:
            stream.run_size += size
            return
        _flush_run(stream)
        if stream.flags & STREAM_BROKEN:
            return
        if stream.backlog != NULL:
            _keep(stream, data, size)
            return
    stream.run = data
    stream.run_size = size
    _push_flush(stream)


cdef void stream_send(Stream* stream, const uint8_t* data, uint32_t size) noexcept nogil:
    cdef uint8_t* out
    if _takes_nothing(stream) or size == 0:
        return
    if size <= DIRECT_BYTES:
        out = stream_room(stream, size)
        memcpy(out, data, size)
        stream_commit(stream, out, size)
        return
    _flush_run(stream)
    if stream.flags & STREAM_BROKEN:
        return
    _write(stream, data, size)
    if stream.want_drained and stream.backlog == NULL:
        _push_flush(stream)


cdef bint _goes_straight(Stream* stream) noexcept nogil:
    """Send what was composed, and say whether the kernel may be given more behind it at once. The head of an answer goes without
    MSG_MORE: in
    segments of their own the file's pages stay aligned for whoever receives them (1 MiB of a stored answer: 76 µs instead of 88)."""
    if _takes_nothing(stream):
        return False
    _flush_run(stream)
    if stream.flags & STREAM_NAGLE:
        _speak(stream, SMALL_BYTES + 1)
    return stream.backlog == NULL and not stream.flags & (STREAM_BLOCKED | STREAM_CONNECTING | STREAM_BROKEN)


cdef uint32_t _took(Stream* stream, ssize_t n, uint32_t size) noexcept nogil:
    if n < 0:
        if errno != EAGAIN and errno != EINTR:
            _break(stream, errno)
            return 0
        n = 0
    if n > 0:
        stream.flags |= STREAM_SENT
    if n < <ssize_t>size:
        stream.flags |= STREAM_BLOCKED
    return <uint32_t>n


cdef uint32_t stream_send_file(Stream* stream, int fd, int64_t offset, uint32_t size) noexcept nogil:
    if not _goes_straight(stream):
        return 0
    return _took(stream, sendfile(stream.fd, fd, &offset, size), size)


cdef uint32_t stream_send_some(Stream* stream, const uint8_t* data, uint32_t size) noexcept nogil:
    if not _goes_straight(stream):
        return 0
    return _took(stream, send(stream.fd, data, size, MSG_NOSIGNAL), size)


cdef void stream_flush(Stream* stream) noexcept nogil:
    if stream.fd >= 0:
        _flush_run(stream)


cdef void stream_finish(Stream* stream) noexcept nogil:
    if stream.fd >= 0:
        shutdown(stream.fd, SHUT_WR)


cdef void poller_flush(Poller* poller) noexcept nogil:
    cdef Stream* stream
    cdef Flusher* flusher
    while poller.flush_first != NULL:
        stream = poller.flush_first
        poller.flush_first = stream.next_flush
        if poller.flush_first == NULL:
            poller.flush_last = NULL
        stream.flags &= ~<uint32_t>STREAM_QUEUED_FLUSH
        if stream.fd < 0:
            continue
        if stream.run_size > 0:
            _flush_run(stream)
        if PXD_UNLIKELY(stream.flags & STREAM_BROKEN):
            stream.flags &= ~<uint32_t>STREAM_QUEUED_FLUSH
            _fail(stream, stream.error)
        elif stream.want_drained and stream.backlog == NULL and stream.run_size == 0:
            stream.want_drained = False
            stream.handler(stream.owner, STREAM_DRAINED)
        elif stream.giving != NULL and stream.backlog == NULL:
            _splice_step(stream.giving)
    poller.arena_used = 0
    while poller.flushers != NULL:
        flusher = poller.flushers
        poller.flushers = flusher.next
        flusher.queued = False
        flusher.flush(flusher)


# ---- events ----

cdef void _on_connecting(Stream* stream, uint32_t events) noexcept nogil:
    cdef int error = 0
    cdef socklen_t size = sizeof(error)
    if events & (EPOLLERR | EPOLLHUP):            # else it cannot have failed
        getsockopt(stream.fd, SOL_SOCKET, SO_ERROR, &error, &size)
    if error != 0:
        _fail(stream, error)
        return
    if not events & EPOLLOUT:
        return
    stream.flags &= ~<uint32_t>STREAM_CONNECTING
    if events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP):
        stream.flags |= STREAM_READABLE
        if events & (EPOLLRDHUP | EPOLLHUP):
            stream.flags |= STREAM_ENDING
        _push_ready(stream)
    stream.handler(stream.owner, STREAM_CONNECTED)


cdef void _on_ready(Pollable* pollable, uint32_t events) noexcept nogil:
    cdef Stream* stream = <Stream*>pollable
    if stream.fd < 0:
        return
    if PXD_UNLIKELY(stream.flags & STREAM_CONNECTING):
        _on_connecting(stream, events)
        return
    if events & EPOLLOUT and stream.flags & STREAM_BLOCKED:
        _write_backlog(stream)
        if stream.flags & STREAM_BROKEN:
            return
        if stream.backlog == NULL:
            if stream.want_drained or stream.giving != NULL:
                _push_flush(stream)
    if events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
        stream.flags |= STREAM_READABLE
        if events & EPOLLERR:
            stream.flags = (stream.flags | STREAM_ERRORED) & ~<uint32_t>STREAM_ENDING
        elif events & (EPOLLRDHUP | EPOLLHUP):
            stream.flags |= STREAM_ENDING
        if stream.taking != NULL:
            _splice_step(stream.taking)
        elif not stream.flags & STREAM_PAUSED:
            _receive(stream)
        elif events & EPOLLERR:
            stream.handler(stream.owner, STREAM_HUNG)


# ---- splice ----

cdef void _splice_begin(Splice* job, Stream* source, Stream* sink, uint64_t left, bint until_end, uint32_t limit) noexcept nogil:
    INVARIANT(source.taking == NULL and sink.giving == NULL)
    job.source = source
    job.sink = sink
    job.left = left
    job.moved = 0
    job.held = 0
    job.limit = limit
    job.until_end = until_end
    job.active = True
    source.taking = job
    sink.giving = job
    _push_flush(sink)         # what was composed for the sink goes first; the flush then takes the first step


cdef bint splice_start(Splice* job, Stream* source, Stream* sink, uint64_t left, bint until_end,
                       uint32_t limit) noexcept nogil:
    if not poller_take_pipe(source.poller, &job.pipe):
        return False
    job.has_pipe = True
    job.lazy = False
    _splice_begin(job, source, sink, left, until_end, limit)
    return True


cdef void splice_flow(Splice* job, Stream* source, Stream* sink, uint32_t limit) noexcept nogil:
    job.has_pipe = False
    job.lazy = True
    _splice_begin(job, source, sink, 0, True, limit)


cdef inline void _give_pipe(Splice* job) noexcept nogil:
    if job.has_pipe:
        poller_give_pipe(job.source.poller, &job.pipe, job.held == 0)
        job.has_pipe = False


cdef void splice_stop(Splice* job) noexcept nogil:
    if not job.active:
        return
    job.active = False
    job.source.taking = NULL
    job.sink.giving = NULL
    _give_pipe(job)
    job.held = 0


cdef void _splice_without(Splice* job) noexcept nogil:
    """No pipe is to be had: the bytes that the source has are received as ever."""
    cdef Stream* source = job.source
    splice_stop(job)
    if source.flags & STREAM_READABLE:
        _push_ready(source)
    source.handler(source.owner, STREAM_SPLICED)


cdef void _splice_step(Splice* job) noexcept nogil:
    """Move what can be moved now: fill the pipe, drain the pipe, until one side has no more or takes no more."""
    cdef Stream* source = job.source
    cdef Stream* sink = job.sink
    cdef ssize_t n
    cdef size_t want, room
    cdef bint moved = True
    cdef int rounds = 0
    if sink.run_size > 0 or sink.backlog != NULL:
        return
    if not job.has_pipe:
        if not source.flags & STREAM_READABLE:
            return
        if not poller_take_pipe(source.poller, &job.pipe):
            _splice_without(job)
            return
        job.has_pipe = True
    if sink.flags & STREAM_NAGLE:
        _speak(sink, SMALL_BYTES + 1)
    room = job.limit if job.limit < job.pipe.cap else job.pipe.cap
    while moved:
        if rounds == SPLICE_ROUNDS:
            # Both sides keep up with us: let the others have a turn, and go on in the next.
            source.flags |= STREAM_READABLE
            _push_ready(source)
            return
        rounds += 1
        moved = False
        if job.held < room and source.flags & STREAM_READABLE and (job.left > 0 or job.until_end):
            want = room - job.held
            if not job.until_end and job.left < want:
                want = job.left
            n = splice(source.fd, NULL, job.pipe.write_fd, NULL, want, SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
            if n > 0:
                job.held += <uint32_t>n
                job.left -= 0 if job.until_end else <uint64_t>n
                moved = True
            elif n == 0 and source.flags & STREAM_BROKEN:
                source.flags &= ~<uint32_t>STREAM_READABLE    # as in _receive
            elif n == 0:
                source.flags = (source.flags | STREAM_ENDED) & ~<uint32_t>STREAM_READABLE
            elif errno == EAGAIN:
                if job.held == 0:
                    source.flags &= ~<uint32_t>STREAM_READABLE
            elif errno != EINTR:
                # Told when what came before it has moved on: the kernel tells it once, and the pipe may be full of that.
                source.error = errno
                source.flags = (source.flags | STREAM_LOST) & ~<uint32_t>STREAM_READABLE
        if job.held > 0 and not sink.flags & STREAM_BLOCKED:
            n = splice(job.pipe.read_fd, NULL, sink.fd, NULL, job.held,
                       SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (SPLICE_F_MORE if job.left > 0 else 0))
            if n > 0:
                sink.flags |= STREAM_SENT
                job.held -= <uint32_t>n
                job.moved += <uint64_t>n
                moved = True
            elif n < 0 and errno == EAGAIN:
                sink.flags |= STREAM_BLOCKED
            elif n < 0 and errno != EINTR:
                n = errno
                splice_stop(job)
                sink.flags |= STREAM_BROKEN
                _fail(sink, <int>n)
                return
    if job.held == 0:
        if source.flags & STREAM_LOST:
            splice_stop(job)
            _fail(source, source.error)
        elif job.left == 0 and not job.until_end:
            splice_stop(job)
            source.handler(source.owner, STREAM_SPLICED)
        elif source.flags & STREAM_ENDED:
            splice_stop(job)
            source.handler(source.owner, STREAM_EOF)
        elif job.lazy:
            _give_pipe(job)
            source.handler(source.owner, STREAM_SPLICED)
