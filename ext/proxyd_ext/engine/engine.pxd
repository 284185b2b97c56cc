"""One thread's life: its loop, its doors, drain; and the shell that Python sees."""
from libc.stdint cimport int64_t, uint64_t
from proxyd_ext.cache.store cimport Cache
from proxyd_ext.conn.model cimport Context
from proxyd_ext.conn.wait cimport Answer
from proxyd_ext.core.events cimport EventNode, EventQueue
from proxyd_ext.core.ring cimport Ring
from proxyd_ext.core.timer cimport Timer
from proxyd_ext.io.poller cimport Pollable
from proxyd_ext.l4.model cimport L4
from proxyd_ext.log.writer cimport AccessLog
from proxyd_ext.snapshot.compile cimport Snapshot, SnapshotData


cdef enum:
    COMMAND_DRAIN = 1
    COMMAND_CLOSE = 2
    COMMAND_REVIEW = 3        # servers were taken out, or came back: flows are looked at
    COMMAND_HAND_OVER = 4     # drain, while another process serves the same sockets

    COMMANDS = 64


cdef struct EngineCore:
    Context context
    L4 l4
    EventQueue events         # the events door
    Ring commands             # the commands door
    Pollable door             # its eventfd in our poller
    int door_fd
    Pollable wakeup           # the wake-ups door's eventfd in our poller
    Pollable alarm            # inline mode: the timerfd that makes our descriptor readable at the next deadline
    int alarm_fd
    int64_t alarm_ms          # what it is set to
    void* published           # SnapshotData*: the slot that publish writes and a turn empties
    void* published_log       # LogRing* that comes with it; NULL: no access records
    Timer tick                # heartbeat, resting acceptors
    int64_t tick_due_us
    EventNode drained
    uint64_t heartbeat
    uint64_t turns
    int64_t lag_us            # how late the last tick was
    int64_t cpu_us            # this engine's CPU time at the last tick
    int state                 # ENGINE_* of engine.pyx
    bint drained_told
    bint handed_over          # another process has our listening sockets, too
    int reviewing             # a COMMAND_REVIEW is in the ring already


cdef class Engine:
    cdef EngineCore* core
    cdef readonly int index
    cdef readonly bint inline
    cdef list _logs           # (generation from which it counts, AccessLog or None): rings that the engine may still write to
    cdef list _published      # snapshots that this engine may still use
    cdef int _engines         # how many there are
    cdef Cache _store         # whose objects events may speak of; None: there is none
    cdef int _join(self, Snapshot snapshot) except -1
    cdef int _wake(self, int slot, Answer* answer) except -1
    cdef bint _command(self, int kind)
    cdef void _ring_door(self) noexcept
