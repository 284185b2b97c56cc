"""The epoll set, the turn's bookkeeping, and the pool of pipes (see poller.pxd)."""
from libc.stdlib cimport free, malloc
from proxyd_ext.core.live cimport LIVE_PIPE, live_born, live_died
from proxyd_ext.io.sys cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, F_GETPIPE_SZ, F_SETPIPE_SZ, O_CLOEXEC, O_NONBLOCK, O_RDONLY,
    close, epoll_create1, epoll_ctl, epoll_wait, errno, fcntl, open_file, pipe2,
)

cdef enum:
    PIPE_BYTES = 1 << 20      # /proc/sys/fs/pipe-max-size lets anybody have this much
    PIPE_BYTES_LEAST = 65536


cdef int poller_init(Poller* poller, BufferPool* buffers) noexcept nogil:
    poller.epfd = epoll_create1(EPOLL_CLOEXEC)
    if poller.epfd < 0:
        return -errno
    poller.arena = <uint8_t*>malloc(ARENA_BYTES)
    if poller.arena == NULL:
        close(poller.epfd)
        return -errno
    poller.reserve_fd = -1
    poller_reserve(poller)
    poller.arena_used = 0
    poller.count = 0
    poller.buffers = buffers
    poller.flush_first = NULL
    poller.flush_last = NULL
    poller.flushers = NULL
    poller.ready_first = NULL
    poller.ready_last = NULL
    poller.dead = NULL
    poller.pipe_count = 0
    return 0


cdef void poller_reserve(Poller* poller) noexcept nogil:
    if poller.reserve_fd < 0:
        poller.reserve_fd = open_file(b"/dev/null", O_RDONLY | O_CLOEXEC)


cdef void poller_destroy(Poller* poller) noexcept nogil:
    cdef int i
    poller_reap(poller)
    for i in range(poller.pipe_count):
        close(poller.pipes[i].read_fd)
        close(poller.pipes[i].write_fd)
        live_died(LIVE_PIPE)
    poller.pipe_count = 0
    if poller.reserve_fd >= 0:
        close(poller.reserve_fd)
    if poller.epfd >= 0:
        close(poller.epfd)
    free(poller.arena)
    poller.arena = NULL


cdef int poller_add(Poller* poller, int fd, uint32_t events, Pollable* pollable) noexcept nogil:
    cdef epoll_event event
    event.events = events
    event.data.ptr = pollable
    if epoll_ctl(poller.epfd, EPOLL_CTL_ADD, fd, &event) < 0:
        return -errno
    return 0


cdef void poller_remove(Poller* poller, int fd) noexcept nogil:
    epoll_ctl(poller.epfd, EPOLL_CTL_DEL, fd, NULL)


cdef void poller_wait(Poller* poller, int timeout_ms) noexcept nogil:
    poller.count = epoll_wait(poller.epfd, poller.events, POLL_EVENTS, timeout_ms)
    if poller.count < 0:      # EINTR: an empty turn
        poller.count = 0


cdef void poller_dispatch(Poller* poller) noexcept nogil:
    cdef int i
    cdef Pollable* pollable
    for i in range(poller.count):
        pollable = <Pollable*>poller.events[i].data.ptr
        pollable.on_ready(pollable, poller.events[i].events)


cdef void poller_queue(Poller* poller, Flusher* flusher) noexcept nogil:
    if not flusher.queued:
        flusher.queued = True
        flusher.next = poller.flushers
        poller.flushers = flusher


cdef void poller_bury(Poller* poller, Pollable* pollable) noexcept nogil:
    pollable.next_dead = poller.dead
    poller.dead = pollable


cdef void _forget_closed(Poller* poller) noexcept nogil:
    """Take closed streams out of the ready list: what was pushed after the list was run still stands in it, and its memory is about to
    go."""
    cdef Stream** at = &poller.ready_first
    poller.ready_last = NULL
    while at[0] != NULL:
        if at[0].fd < 0:
            at[0] = at[0].next_ready
        else:
            poller.ready_last = at[0]
            at = &at[0].next_ready


cdef void poller_reap(Poller* poller) noexcept nogil:
    cdef Pollable* pollable
    if poller.dead == NULL:
        return
    _forget_closed(poller)
    while poller.dead != NULL:
        pollable = poller.dead
        poller.dead = pollable.next_dead
        pollable.reap(pollable)


cdef bint poller_take_pipe(Poller* poller, Pipe* out) noexcept nogil:
    cdef int[2] fds
    cdef int size
    if poller.pipe_count > 0:
        poller.pipe_count -= 1
        out[0] = poller.pipes[poller.pipe_count]
        return True
    if pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0:
        return False
    fcntl(fds[1], F_SETPIPE_SZ, <int>PIPE_BYTES)
    size = fcntl(fds[1], F_GETPIPE_SZ)
    if size < PIPE_BYTES_LEAST:
        # The user's share of pipe memory is used up (pipe-user-pages-soft): copies serve better than a one-page pipe.
        close(fds[0])
        close(fds[1])
        return False
    out.read_fd = fds[0]
    out.write_fd = fds[1]
    out.cap = size
    live_born(LIVE_PIPE)
    return True


cdef void poller_give_pipe(Poller* poller, Pipe* pipe, bint empty) noexcept nogil:
    if empty and poller.pipe_count < PIPES_KEPT:
        poller.pipes[poller.pipe_count] = pipe[0]
        poller.pipe_count += 1
        return
    close(pipe.read_fd)
    close(pipe.write_fd)
    live_died(LIVE_PIPE)
