"""The poller: one engine's epoll set, its turn, its send arena and its pipes.

Above this package I/O looks like operations that complete: a stream is told to send bytes and later says that they are gone; it hands over
received bytes. How they move (here: edge-triggered epoll, one registration a connection, no epoll_ctl afterwards) stays below, so that an
io_uring
poller can stand beside this one.

A turn has fixed steps (`engine.pyx` calls them): wait · dispatch events · timers · streams with more to read · flush what was composed ·
reap.
Small sends are composed into the arena while events are handled and leave together at the end: receiving for the whole batch first and
sending after keeps the instruction cache warm (measured 2–6 %, reference/performance.md §2.2).
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from proxyd_ext.core.buffer cimport Buffer, BufferPool
from proxyd_ext.io.sys cimport epoll_event


cdef enum:
    POLL_EVENTS = 256         # events taken by one epoll_wait
    ARENA_BYTES = 512 * 1024  # composed sends of one turn; more flushes early
    PIPES_KEPT = 32


ctypedef struct Pollable:
    # What stands behind a registered descriptor.  Called with the epoll events; must tolerate its descriptor having been closed earlier in
    # the turn.
    void (*on_ready)(Pollable* self, uint32_t events) noexcept nogil
    void (*reap)(Pollable* self) noexcept nogil   # frees the memory at the end of the turn in which poller_bury was called
    Pollable* next_dead


ctypedef struct Flusher:
    # What else was composed in this turn: called once at the flush, after the streams, when poller_queue was called before.
    void (*flush)(Flusher* self) noexcept nogil
    Flusher* next
    bint queued


ctypedef struct Pipe:
    int read_fd
    int write_fd
    uint32_t cap              # bytes it can hold


cdef enum:
    # What a stream tells its owner.
    STREAM_BYTES = 0          # its in-buffer has bytes
    STREAM_EOF = 1            # the peer will send no more; it may still read
    STREAM_DRAINED = 2        # all that was given to it has gone to the kernel (told when `want_drained` was set)
    STREAM_FAILED = 3         # it is broken both ways; `error` is the errno
    STREAM_CONNECTED = 4
    STREAM_SPLICED = 5        # its splice has moved all it should; of a lazy one: all there was, or it stopped for want of a pipe
    STREAM_HUNG = 6           # while paused, or behind STREAM_EOF: the peer reset (if it had not ended, bytes may still be readable)

    STREAM_CONNECTING = 1 << 0
    STREAM_READABLE = 1 << 1  # the kernel holds bytes, or an end, that we have not taken
    STREAM_PAUSED = 1 << 2    # its owner wants no bytes now
    STREAM_ENDING = 1 << 3    # the peer's FIN has been seen by the kernel: a short read is the last
    STREAM_ENDED = 1 << 4     # STREAM_EOF was told
    STREAM_BLOCKED = 1 << 5   # the kernel took less than it was given; wait for room
    STREAM_BROKEN = 1 << 6    # a send failed; STREAM_FAILED will be told at the flush
    STREAM_QUEUED_FLUSH = 1 << 7
    STREAM_QUEUED_READY = 1 << 8
    STREAM_HELD = 1 << 9      # its in-buffer has bytes that its owner wants to look at again (ready list)
    STREAM_SENT = 1 << 11     # the kernel took at least one byte since its owner cleared this
    STREAM_LOST = 1 << 12     # a splice met the source's failure (`error`), which is told behind what the pipe still holds
    STREAM_NAGLE = 1 << 13    # TCP_NODELAY is not set yet: one small send goes out at once without it
    STREAM_SPOKE = 1 << 14    # STREAM_NAGLE: that send is over
    STREAM_ERRORED = 1 << 10  # the kernel announced an error: the next read behind the last bytes will tell it


# Splice: bytes that move from one stream to another inside the kernel.  Stream: one connected socket.
cdef struct Splice
cdef struct Stream
cdef struct Poller


ctypedef void (*StreamHandler)(void* owner, int what) noexcept nogil


cdef struct Splice:
    Stream* source
    Stream* sink
    Pipe pipe
    uint64_t left             # bytes still to be taken from the source
    uint64_t moved            # bytes given to the sink
    uint32_t held             # bytes in the pipe: they count towards the connection's bound
    uint32_t limit            # most bytes it may hold
    bint until_end            # the length is not known: until the source ends
    bint lazy                 # it has a pipe only while that holds bytes, and tells STREAM_SPLICED whenever the source has no more
    bint has_pipe
    bint active


cdef struct Stream:
    Pollable pollable         # first: a Pollable* is a Stream*
    int fd                    # -1: closed
    uint32_t flags            # STREAM_*
    Poller* poller
    StreamHandler handler
    void* owner
    Buffer* received          # bytes not yet consumed; NULL when there are none
    const uint8_t* run        # composed bytes to send at the flush: in the arena, or memory that its owner keeps until they are gone
    uint32_t run_size
    uint32_t backlog_bytes    # bytes in the backlog
    Buffer* backlog           # bytes that the kernel did not take yet, oldest first
    Buffer* backlog_last
    Splice* taking            # a splice that this stream is the source of
    Splice* giving            # one that it is the sink of
    Stream* next_flush
    Stream* next_ready
    int error                 # errno of the failure
    uint8_t receive_class     # BUFFER_* to receive into
    bint want_drained


cdef struct Poller:
    int epfd
    int reserve_fd            # given up when descriptors run out, so that a refusal can be said (see acceptor)
    int count                 # events of the last wait
    uint8_t* arena
    uint32_t arena_used
    BufferPool* buffers
    Stream* flush_first       # streams with composed bytes, in order
    Stream* flush_last
    Flusher* flushers
    Stream* ready_first       # streams that can be read on without a new event
    Stream* ready_last
    Pollable* dead
    Pipe[PIPES_KEPT] pipes    # empty pipes, ready for use
    int pipe_count
    epoll_event[POLL_EVENTS] events


cdef int poller_init(Poller* poller, BufferPool* buffers) noexcept nogil         # 0, or -errno
cdef void poller_destroy(Poller* poller) noexcept nogil
cdef int poller_add(Poller* poller, int fd, uint32_t events, Pollable* pollable) noexcept nogil   # 0, or -errno
# Before the descriptor is closed.  That alone forgets it only if nobody else has it, and while the process starts a program, that one has
# all of ours until it executes: events would come for an object that is gone.
cdef void poller_remove(Poller* poller, int fd) noexcept nogil
cdef void poller_wait(Poller* poller, int timeout_ms) noexcept nogil
cdef void poller_dispatch(Poller* poller) noexcept nogil
cdef void poller_queue(Poller* poller, Flusher* flusher) noexcept nogil
cdef void poller_bury(Poller* poller, Pollable* pollable) noexcept nogil
# Take the reserve descriptor again, after another thread was faster.
cdef void poller_reserve(Poller* poller) noexcept nogil
cdef void poller_reap(Poller* poller) noexcept nogil
cdef bint poller_take_pipe(Poller* poller, Pipe* out) noexcept nogil             # False: none to be had
cdef void poller_give_pipe(Poller* poller, Pipe* pipe, bint empty) noexcept nogil  # a pipe that is not empty is closed
