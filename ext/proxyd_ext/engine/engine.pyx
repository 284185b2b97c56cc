# cython: cdivision=True
"""The engine: a loop without the GIL around everything below it (see engine.pxd)."""
import os

cimport cython
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from libc.stdint cimport int64_t, uint64_t
from proxyd_ext.auth.verdict cimport Verdict, verdict_hold
from proxyd_ext.balance.pool cimport upstream_join
from proxyd_ext.balance.queue cimport queue_more
from proxyd_ext.balance.server cimport ServerData, server_drop, server_join
from proxyd_ext.cache.object cimport Object
from proxyd_ext.cache.store cimport stored_object
from proxyd_ext.conn.client cimport client_accept
from proxyd_ext.conn.dispatch cimport connections_abort, connections_drain, dispatch_install
from proxyd_ext.conn.exchange cimport (
    exchange_answered, exchange_cache_heard, exchange_filter_answered, exchange_place_told, exchange_shed, exchange_tier_answered,
    exchange_woken,
)
from proxyd_ext.conn.fill cimport fill_woken
from proxyd_ext.conn.invalidate cimport InvalidUrl
from proxyd_ext.conn.mirror cimport mirrors_abort, mirrors_begin
from proxyd_ext.conn.model cimport (
    CacheUse, ClientConn, Context, Exchange, Fill, MirrorCopy, OriginConn, PAUSE_ASK, PAUSE_TIER, WAITS_MAX, WaitSlot,
)
from proxyd_ext.conn.pin cimport snapshot_hold, snapshot_release
from proxyd_ext.conn.origin cimport origins_sweep
from proxyd_ext.conn.wait cimport (
    ANSWER_CHANGE, ANSWER_CONTENT, ANSWER_FAIL, ANSWER_PROCEED, ANSWER_VERDICT, Answer, WaitQuestion, answer_free, wait_find,
    wait_place_told, wait_shed, wait_wake, wait_woken, waits_destroy, waits_init,
)
from proxyd_ext.core.buffer cimport buffers_destroy, buffers_init
from proxyd_ext.core.clock cimport clock_advance, clock_init, clock_read
from proxyd_ext.core.events cimport (
    EVENT_ACK, EVENT_CACHE, EVENT_CONSULT, EVENT_DRAINED, EVENT_EJECTED, EVENT_FILL, EVENT_INVALID, EVENT_RETIRED, EVENT_STORED,
    EventNode, event_done, event_push, events_destroy, events_init,
    events_take,
)
from proxyd_ext.core.live cimport (
    LIVE_CLIENT, LIVE_COPY, LIVE_DATAGRAMS, LIVE_EXCHANGE, LIVE_FILL, LIVE_FILTERED, LIVE_FLOW, LIVE_HELLO, LIVE_ORIGIN, LIVE_USE,
)
from proxyd_ext.core.ring cimport RingItem, ring_destroy, ring_init, ring_pop, ring_push
from proxyd_ext.core.shim cimport (
    cas_int, counter_add, exchange_ptr, load_acquire_ptr, load_i64, load_u64, store_i64, store_int, store_release_ptr,
)
from proxyd_ext.core.slab cimport slab_destroy, slab_init
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.core.stats cimport ENGINES_MAX
from proxyd_ext.core.timer cimport (
    TIMER_OFF_MS, timer_init, timer_set, timers_destroy, timers_init, timers_next, timers_reserve, timers_run,
)
from proxyd_ext.filter.change cimport new_change
from proxyd_ext.filter.state cimport FilterChange, FilterState
from proxyd_ext.http1.rewrite cimport write_http_date
from proxyd_ext.io.acceptor cimport acceptor_close, acceptor_open, acceptor_rouse
from proxyd_ext.io.listener cimport ListenerData, ListenerLocal, listener_join, listener_place
from proxyd_ext.io.poller cimport poller_add, poller_destroy, poller_dispatch, poller_init, poller_reap, poller_reserve, poller_wait
from proxyd_ext.io.stream cimport poller_flush, poller_run_ready
from proxyd_ext.io.sys cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, EPOLLIN, TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, close, eventfd, itimerspec, read, timerfd_create,
    timerfd_settime, write,
)
from proxyd_ext.l4.tcp cimport TcpFlow, TcpHello, tcp_abort, tcp_accept, tcp_review
from proxyd_ext.l4.udp cimport udp_abort, udp_leave, udp_listen, udp_review, udp_sweep
from proxyd_ext.l4.udp_flow cimport UdpFlow
from proxyd_ext.log.ring cimport LogRing
from proxyd_ext.snapshot.compile cimport (
    CONSULT_DECIDE, CONSULT_FILTER, CONSULT_FILTER_ANSWER, CONSULT_LIVE, CONSULT_LOOKUP, CONSULT_PURGE, CONSULT_READY, MODE_HTTP, MODE_UDP,
    CompiledListener, Snapshot, SnapshotData,
)

from proxyd_ext.http1.lines import checked_lines

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    int sigfillset(sigset_t* set)
    int pthread_sigmask(int how, const sigset_t* set, sigset_t* old)
    enum:
        SIG_SETMASK

cdef extern from "<time.h>" nogil:
    enum:
        CLOCK_THREAD_CPUTIME_ID

cdef enum:
    ENGINE_NEW = 0
    ENGINE_RUNNING = 1
    ENGINE_DRAINING = 2
    ENGINE_CLOSED = 3

    TICK_MS = 1000
    TICK_RESTING_MS = 100     # while an acceptor rests
    WAIT_MS = 1000            # the longest sleep


cdef int64_t _clock_us(int which) noexcept nogil:
    cdef timespec t
    clock_gettime(which, &t)
    return <int64_t>t.tv_sec * 1000000 + t.tv_nsec // 1000


# ---- the turn ----

cdef void _show_date(EngineCore* core) noexcept nogil:
    cdef int64_t seconds = core.context.clock.wall_us // 1000000
    if seconds != core.context.date_s:
        core.context.date_s = seconds
        write_http_date(seconds, core.context.date)


cdef void _turn(EngineCore* core, int timeout_ms) noexcept nogil:
    cdef Context* context = &core.context
    if load_acquire_ptr(&core.published) != NULL:
        _take_snapshot(core)
    poller_wait(&context.poller, timeout_ms)
    clock_read(&context.clock)
    _show_date(core)
    counter_add(&core.turns, 1)
    poller_dispatch(&context.poller)
    timers_run(&context.timers, context.clock.now_ms)
    poller_run_ready(&context.poller)
    poller_flush(&context.poller)
    if context.new_copies != NULL:
        mirrors_begin(context)
    poller_reap(&context.poller)
    if core.state == ENGINE_DRAINING and not core.drained_told and context.client_count == 0 and context.flow_count == 0:
        mirrors_abort(context)   # nobody waits for them
        core.drained_told = True
        event_push(&core.events, &core.drained)


cdef int _timeout(EngineCore* core) noexcept nogil:
    """Milliseconds that the loop may sleep."""
    cdef int64_t left
    if core.context.poller.ready_first != NULL or load_acquire_ptr(&core.published) != NULL:
        return 0
    left = timers_next(&core.context.timers)
    if left == TIMER_OFF_MS:
        return WAIT_MS
    left -= core.context.clock.now_ms
    return 0 if left < 0 else WAIT_MS if left > WAIT_MS else <int>left


cdef void _run(EngineCore* core) noexcept nogil:
    cdef sigset_t all_signals
    sigfillset(&all_signals)
    pthread_sigmask(SIG_SETMASK, &all_signals, NULL)   # signals are the main thread's
    while core.state != ENGINE_CLOSED:
        _turn(core, _timeout(core))


cdef void _on_tick(void* owner) noexcept nogil:
    cdef EngineCore* core = <EngineCore*>owner
    cdef Context* context = &core.context
    cdef ListenerLocal* local
    cdef bint resting = False
    cdef int i, k
    counter_add(&core.heartbeat, 1)
    store_i64(&core.lag_us, context.clock.now_us - core.tick_due_us)
    store_i64(&core.cpu_us, _clock_us(CLOCK_THREAD_CPUTIME_ID))
    poller_reserve(&context.poller)
    udp_sweep(context)
    if context.snapshot != NULL:
        for i in range(context.snapshot.upstream_count):
            # A net under the queues: whoever looked while another engine counted itself in for a moment may have waited in vain.
            queue_more(context.snapshot.upstreams[i].state)
        for i in range(context.snapshot.listener_count):
            local = context.snapshot.listeners[i].listener.local[context.engine]
            if core.state == ENGINE_RUNNING and context.snapshot.listeners[i].mode == MODE_UDP:
                _open(context, local)
            for k in range(local.socket_count):
                if local.acceptors[k].resting:
                    acceptor_rouse(&local.acceptors[k])
                    resting = True
    _set_tick(core, TICK_RESTING_MS if resting else TICK_MS)


cdef void _set_tick(EngineCore* core, int64_t ms) noexcept nogil:
    core.tick_due_us = core.context.clock.now_us + ms * 1000
    timer_set(&core.context.timers, &core.tick, core.context.clock.now_ms + ms)


# ---- snapshots ----

cdef void _listen(EngineCore* core, SnapshotData* snapshot) noexcept nogil:
    cdef Context* context = &core.context
    cdef ListenerData* listener
    cdef ListenerLocal* local
    cdef int i
    for i in range(snapshot.listener_count):
        listener = snapshot.listeners[i].listener
        local = listener.local[context.engine]
        if local.leaving:
            local.leaving = False
            if local.open_count > 0:
                snapshot_release(context, (<CompiledListener*>local.settings).snapshot)
        local.context = context
        local.settings = &snapshot.listeners[i]
        local.mark = snapshot.generation
        if core.state == ENGINE_RUNNING:
            _open(context, local)


cdef void _open(Context* context, ListenerLocal* local) noexcept nogil:
    """Begin to accept, unless we do already."""
    cdef ListenerData* listener = local.listener
    cdef int mode = (<CompiledListener*>local.settings).mode
    cdef int i, fd
    for i in range(local.socket_count):
        fd = listener.fds[listener_place(listener, context.engine, i)]
        if fd < 0 or local.acceptors[i].fd >= 0:
            continue
        if mode == MODE_UDP:
            udp_listen(context, local, fd)      # in vain without memory: the next tick tries again
        elif acceptor_open(&local.acceptors[i], &context.poller, fd, listener.shared, mode == MODE_HTTP,
                           client_accept if mode == MODE_HTTP else tcp_accept, local, NULL) < 0:
            local.acceptors[i].resting = True   # no kernel memory for the poller now: the next tick tries again


cdef void _leave(EngineCore* core, ListenerData* listener) noexcept nogil:
    """Take what waits in the queues, then close our sockets, so that the kernel queues nobody for us any more. Where they were handed over,
    they live on in the other process, and what we leave behind is taken there."""
    cdef int engine = core.context.engine
    cdef ListenerLocal* local = listener.local[engine]
    cdef int i
    cdef int* fd
    for i in range(local.socket_count):
        fd = &listener.fds[listener_place(listener, engine, i)]
        if local.acceptors[i].fd >= 0:
            acceptor_close(&local.acceptors[i])
            if not listener.shared:
                close(fd[0])
                fd[0] = -1
        elif udp_leave(&core.context, fd[0], core.handed_over):
            fd[0] = -1


cdef void _stop_listening(EngineCore* core, SnapshotData* old, uint64_t generation) noexcept nogil:
    """Leave the listeners of `old` that are not part of `generation`, after taking what waits in their queues."""
    cdef Context* context = &core.context
    cdef ListenerData* listener
    cdef ListenerLocal* local
    cdef int i
    cdef bint left = False
    for i in range(old.listener_count):
        listener = old.listeners[i].listener
        local = listener.local[context.engine]
        if local.mark == generation:
            continue
        _leave(core, listener)
        local.leaving = True
        if local.open_count > 0:
            snapshot_hold(context, old)   # until the last of its connections has gone (conn/client)
        left = True
    if left:
        connections_drain(context)


cdef void _mark_members(Context* context, SnapshotData* snapshot) noexcept nogil:
    cdef int i, k
    cdef ServerData* server
    for i in range(snapshot.upstream_count):
        for k in range(snapshot.upstreams[i].pool.count):
            server = snapshot.upstreams[i].pool.members[k].server
            server.local[context.engine].mark = snapshot.generation


cdef void _take_snapshot(EngineCore* core) noexcept nogil:
    cdef Context* context = &core.context
    cdef SnapshotData* snapshot = <SnapshotData*>exchange_ptr(&core.published, NULL)
    cdef SnapshotData* old = context.snapshot
    if snapshot == NULL:
        return
    _mark_members(context, snapshot)
    context.snapshot = snapshot
    context.log = <LogRing*>load_acquire_ptr(&core.published_log)
    _listen(core, snapshot)
    if old != NULL:
        _stop_listening(core, old, snapshot.generation)
        origins_sweep(context)
        _review(core)
        old.local[context.engine].superseded = True
        if old.local[context.engine].users == 0:
            _say(core, old, EVENT_RETIRED, core)
    _say(core, snapshot, EVENT_ACK, core)


cdef void _review(EngineCore* core) noexcept nogil:
    """Servers or listeners have changed: flows may have to go."""
    if core.context.flow_count > 0:
        tcp_review(&core.context)
        udp_review(&core.context)


cdef void _say(EngineCore* core, SnapshotData* snapshot, int kind, void* taken) noexcept nogil:
    """`taken`: not NULL when the engine itself speaks, and not the publisher for it."""
    cdef EventNode* node = &snapshot.local[core.context.engine].ack
    if kind == EVENT_RETIRED:
        node = &snapshot.local[core.context.engine].retired
    node.kind = kind
    node.subject = taken
    node.number = snapshot.generation
    event_push(&core.events, node)


# ---- commands ----

cdef void _on_door(Pollable* pollable, uint32_t events) noexcept nogil:
    cdef EngineCore* core = core_of_door(pollable)
    cdef uint64_t drained
    cdef RingItem item
    read(core.door_fd, &drained, sizeof(drained))
    while ring_pop(&core.commands, &item):
        if item.kind == COMMAND_DRAIN:
            _drain(core)
        elif item.kind == COMMAND_HAND_OVER:
            core.handed_over = True
            _drain(core)
        elif item.kind == COMMAND_REVIEW:
            store_int(&core.reviewing, 0)       # before the look: what changes from here on asks anew
            _review(core)
        elif item.kind == COMMAND_CLOSE:
            _drain(core)
            mirrors_abort(&core.context)
            connections_abort(&core.context)
            tcp_abort(&core.context)
            udp_abort(&core.context)
            core.state = ENGINE_CLOSED


cdef void _on_wakeup(Pollable* pollable, uint32_t events) noexcept nogil:
    """The wake-ups door: each node names a slot whose exchange has its answer, or may look for a server again."""
    cdef EngineCore* core = <EngineCore*>(<char*>pollable - <size_t>&(<EngineCore*>NULL).wakeup)
    cdef EventNode* node = events_take(&core.context.wakeups)
    cdef EventNode* following
    cdef WaitSlot* slot
    cdef Answer* answer
    cdef Exchange* exchange
    cdef const unsigned char* text
    cdef int kind, told
    while node != NULL:
        following = node.next
        slot = <WaitSlot*>node.subject
        kind = node.kind
        event_done(node)
        if kind == EVENT_CACHE:
            exchange_cache_heard(<CacheUse*>slot)
            node = following
            continue
        if kind == EVENT_FILL:
            fill_woken(<Fill*>slot)
            node = following
            continue
        answer = <Answer*>exchange_ptr(&slot.answer, NULL)
        exchange = wait_woken(slot)
        told = wait_place_told(slot)
        if exchange != NULL:
            exchange_woken(exchange)
        elif wait_shed(slot):
            exchange_shed(slot.exchange)
        elif told:
            exchange_place_told(slot.exchange, told)
        if answer != NULL:
            exchange = wait_find(&core.context, slot, answer.generation)
            if exchange == NULL:
                pass
            elif exchange.pausing == PAUSE_TIER:
                exchange_tier_answered(exchange)
            elif exchange.pausing == PAUSE_ASK:
                exchange_filter_answered(exchange, answer)
            elif answer.kind == ANSWER_CONTENT:
                text = <const unsigned char*>(answer + 1)
                exchange_answered(exchange, <unsigned short>answer.status, slice_of(text, answer.head_size),
                                  slice_of(text + answer.head_size, answer.body_size))
            answer_free(answer)
        node = following


cdef EngineCore* core_of_door(Pollable* pollable) noexcept nogil:
    return <EngineCore*>(<char*>pollable - <size_t>&(<EngineCore*>NULL).door)


cdef void _drain(EngineCore* core) noexcept nogil:
    """No new connections; what is under way is finished."""
    cdef Context* context = &core.context
    cdef int i
    if core.state == ENGINE_DRAINING or core.state == ENGINE_CLOSED:
        return
    core.state = ENGINE_DRAINING
    if context.snapshot != NULL:
        # Connections keep their settings: what is under way is served under them.
        for i in range(context.snapshot.listener_count):
            _leave(core, context.snapshot.listeners[i].listener)
    context.draining = True
    connections_drain(context)
    origins_sweep(context)


# ---- inline mode ----

cdef void _on_alarm(Pollable* pollable, uint32_t events) noexcept nogil:
    cdef EngineCore* core = <EngineCore*>(<char*>pollable - <size_t>&(<EngineCore*>NULL).alarm)
    cdef uint64_t expirations
    read(core.alarm_fd, &expirations, sizeof(expirations))
    core.alarm_ms = TIMER_OFF_MS


cdef void _set_alarm(EngineCore* core) noexcept nogil:
    """Make the poller's descriptor readable at the next deadline: the outer loop sleeps on that descriptor."""
    cdef itimerspec when
    cdef int64_t due = timers_next(&core.context.timers)
    if core.context.poller.ready_first != NULL:
        due = core.context.clock.now_ms
    if due == core.alarm_ms or due == TIMER_OFF_MS:
        return
    core.alarm_ms = due
    when.it_interval.tv_sec = 0
    when.it_interval.tv_nsec = 0
    when.it_value.tv_sec = due // 1000
    when.it_value.tv_nsec = (due % 1000) * 1000000 + 1   # never zero, which would disarm it
    timerfd_settime(core.alarm_fd, TFD_TIMER_ABSTIME, &when, NULL)


# ---- the shell ----

@cython.no_gc_clear   # __dealloc__ ends exchanges, which still look into the snapshots that `_published` keeps
cdef class Engine:
    """One data-plane thread. `run` it in a thread, or, inline, give `fileno` to the event loop and call `poll` when it is readable."""

    def __cinit__(self, int index, int engines, *, bint inline = False, AccessLog log = None, bint fake_clock = False):
        cdef Context* context
        cdef bytes pseudonym
        if not 0 <= index < engines <= ENGINES_MAX:
            raise ValueError(f"there can be at most {ENGINES_MAX} engines")
        self.index = index
        self.inline = inline
        self._engines = engines
        self._logs = [(0, log)]
        self._published = []
        self.core = <EngineCore*>calloc(1, sizeof(EngineCore))
        if self.core == NULL:
            raise MemoryError
        context = &self.core.context
        context.engine = index
        # until they are opened
        context.poller.epfd = context.poller.reserve_fd = self.core.door_fd = self.core.events.fd = context.wakeups.fd = -1
        context.date_s = -1
        buffers_init(&context.buffers)
        timers_init(&context.timers)
        clock_init(&context.clock, fake_clock)
        slab_init(&context.clients, sizeof(ClientConn), LIVE_CLIENT)
        slab_init(&context.origins, sizeof(OriginConn), LIVE_ORIGIN)
        slab_init(&context.exchanges, sizeof(Exchange), LIVE_EXCHANGE)
        slab_init(&context.copies, sizeof(MirrorCopy), LIVE_COPY)
        slab_init(&context.uses, sizeof(CacheUse), LIVE_USE)
        slab_init(&context.fills, sizeof(Fill), LIVE_FILL)
        slab_init(&context.filters, sizeof(FilterState), LIVE_FILTERED)
        self.core.l4.context = context
        context.l4 = &self.core.l4
        slab_init(&self.core.l4.flows, sizeof(TcpFlow), LIVE_FLOW)
        slab_init(&self.core.l4.hellos, sizeof(TcpHello), LIVE_HELLO)
        slab_init(&self.core.l4.datagrams, sizeof(UdpFlow), LIVE_DATAGRAMS)
        context.random.state = <uint64_t>int.from_bytes(os.urandom(8), "little")
        pseudonym = _PSEUDONYM
        context.via_size = <uint32_t>len(pseudonym)
        memcpy(context.via, <const char*>pseudonym, len(pseudonym))
        context.events = &self.core.events
        if log is not None:
            context.log = log.ring(index)
        self.core.published_log = context.log
        dispatch_install(context)
        self.core.drained.kind = EVENT_DRAINED
        self.core.alarm_fd = -1
        self.core.alarm_ms = TIMER_OFF_MS
        self.core.door_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        self.core.door.on_ready = _on_door
        self.core.wakeup.on_ready = _on_wakeup
        if (poller_init(&context.poller, &context.buffers) < 0 or events_init(&self.core.events) < 0 or self.core.door_fd < 0
                or not ring_init(&self.core.commands, COMMANDS) or not waits_init(context) or not timers_reserve(&context.timers, 16)
                or poller_add(&context.poller, self.core.door_fd, EPOLLIN, &self.core.door) < 0
                or poller_add(&context.poller, context.wakeups.fd, EPOLLIN, &self.core.wakeup) < 0):
            raise OSError("an engine could not get its descriptors or memory")
        if inline and not fake_clock:
            self.core.alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
            self.core.alarm.on_ready = _on_alarm
            if self.core.alarm_fd < 0 or poller_add(&context.poller, self.core.alarm_fd, EPOLLIN, &self.core.alarm) < 0:
                raise OSError("an engine could not get its timer")
        self.core.state = ENGINE_RUNNING
        timer_init(&self.core.tick, self.core, _on_tick)
        _set_tick(self.core, TICK_MS)

    def __dealloc__(self):
        cdef EventNode* node
        cdef EventNode* following
        if self.core == NULL:
            return
        mirrors_abort(&self.core.context)
        connections_abort(&self.core.context)
        tcp_abort(&self.core.context)
        udp_abort(&self.core.context)
        while self.core.context.uses_waiting > 0:
            # Somebody has promised to ring: the node must not go before that.
            _on_wakeup(&self.core.wakeup, 0)
        poller_reap(&self.core.context.poller)
        node = events_take(&self.core.events)
        while node != NULL:
            following = node.next     # the node is part of the server
            if node.kind == EVENT_EJECTED:
                server_drop(<ServerData*>node.subject)
            elif node.kind == EVENT_INVALID:
                free(node.subject)
            elif node.kind == EVENT_STORED:
                stored_object(<Object*>node.subject, self._store)     # drops the pin
            node = following
        poller_destroy(&self.core.context.poller)
        if self.core.door_fd >= 0:
            close(self.core.door_fd)
        if self.core.alarm_fd >= 0:
            close(self.core.alarm_fd)
        waits_destroy(&self.core.context)
        ring_destroy(&self.core.commands)
        events_destroy(&self.core.events)
        timers_destroy(&self.core.context.timers)
        slab_destroy(&self.core.context.clients)
        slab_destroy(&self.core.context.origins)
        slab_destroy(&self.core.context.exchanges)
        slab_destroy(&self.core.context.copies)
        slab_destroy(&self.core.context.uses)
        slab_destroy(&self.core.context.fills)
        slab_destroy(&self.core.context.filters)
        slab_destroy(&self.core.l4.flows)
        slab_destroy(&self.core.l4.hellos)
        slab_destroy(&self.core.l4.datagrams)
        buffers_destroy(&self.core.context.buffers)
        free(self.core)

    def run(self) -> None:
        """Serve until closed. Blocks the calling thread, which holds no GIL and takes no signal meanwhile."""
        cdef EngineCore* core = self.core
        with nogil:
            _run(core)

    def fileno(self) -> int:
        """The descriptor that is readable when `poll` has something to do (inline mode)."""
        return self.core.context.poller.epfd

    def poll(self) -> None:
        """One turn, without sleeping (inline mode)."""
        cdef EngineCore* core = self.core
        with nogil:
            _turn(core, 0)
            if core.alarm_fd >= 0:
                _set_alarm(core)

    def next_deadline_ms(self) -> int:
        """Milliseconds of the fake clock until the next timer; -1: none."""
        cdef int64_t due = timers_next(&self.core.context.timers)
        return -1 if due == TIMER_OFF_MS else max(0, due - self.core.context.clock.now_ms)

    def advance(self, long long ms) -> None:
        """Move the fake clock and run what is due."""
        cdef EngineCore* core = self.core
        if not core.context.clock.fake:
            raise ValueError("only a fake clock can be moved")
        with nogil:
            clock_advance(&core.context.clock, ms)
            _turn(core, 0)

    def publish(self, Snapshot snapshot not None, log = ...) -> None:
        """Hand over a snapshot. The engine takes it at the top of its next turn and says ("ack", generation).

        `log`: an AccessLog or None takes effect with the snapshot; left out, the engine goes on with the one it has. After the ack the
        engine
        does not touch the one before.
        """
        cdef SnapshotData* passed_over
        self._join(snapshot)
        self._published.append(snapshot)
        if snapshot.store is not None:
            self._store = snapshot.store
        if log is not ...:
            self._logs.append((snapshot.generation, log))
            store_release_ptr(&self.core.published_log, NULL if log is None else (<AccessLog?>log).ring(self.index))
        passed_over = <SnapshotData*>exchange_ptr(&self.core.published, snapshot.data)
        self._ring_door()
        if passed_over != NULL:
            # A newer one came before the engine's next turn: this one was never used, and is done with at once.
            _say(self.core, passed_over, EVENT_ACK, NULL)
            _say(self.core, passed_over, EVENT_RETIRED, NULL)

    cdef int _join(self, Snapshot snapshot) except -1:
        """Make every engine's part of all lasting objects, here where a lack of memory can still be told, and put the pools in use."""
        cdef SnapshotData* data = snapshot.data
        cdef int i, k, engine
        cdef bint ok = True
        for engine in range(self._engines):
            for i in range(data.listener_count):
                ok = ok and listener_join(data.listeners[i].listener, engine, self._engines) != NULL
            for i in range(data.upstream_count):
                ok = ok and upstream_join(data.upstreams[i].state, engine) != NULL
                for k in range(data.upstreams[i].pool.count):
                    ok = ok and server_join(data.upstreams[i].pool.members[k].server, engine) != NULL
        if not ok:
            raise MemoryError
        if not snapshot.in_use:       # another engine's publish must not take back a pool that came after
            snapshot.in_use = True
            for pool in snapshot.pools:
                pool.spec.state.use(pool)
                pool.spec.state.set_max_requests(pool.spec.max_requests)
                pool.spec.state.set_on_down(pool.spec.on_down_close)
        return 0

    def drain(self) -> None:
        """Accept no more, finish what is under way; then ("drained",)."""
        self._command(COMMAND_DRAIN)

    def hand_over(self) -> None:
        """The same, while another process serves our listening sockets."""
        self._command(COMMAND_HAND_OVER)

    def review(self) -> None:
        """Servers were taken out or drained, or came back: look at every flow (l4), which may have to end."""
        cdef int idle = 0
        if cas_int(&self.core.reviewing, &idle, 1) and not self._command(COMMAND_REVIEW):
            store_int(&self.core.reviewing, 0)

    def close(self) -> None:
        """Abort everything and leave `run`."""
        self._command(COMMAND_CLOSE)

    def answer(self, int slot, long long generation, int status, bytes body, str content_type) -> None:
        """Answer a consult; too late an answer is dropped and counted."""
        if not 200 <= status <= 599 or "\r" in content_type or "\n" in content_type:
            raise ValueError("a consult is answered with a final status and a one-line content type")
        self.reply(slot, generation, status, f"Content-Type: {content_type}\r\n".encode(), body)

    def reply(self, int slot, long long generation, int status, bytes head, bytes body) -> None:
        """Answer a "filter": this goes to the client. head: whole field lines."""
        if not 200 <= status <= 599:
            raise ValueError(f"{status} is no final status")
        checked_lines(head)
        self._wake(slot, _new_answer(ANSWER_CONTENT, generation, status, head, body))

    def proceed(self, int slot, long long generation) -> None:
        """A ("lookup", ...) has been seen to: what was found is in the cache. Too late, it is dropped and counted."""
        self._wake(slot, _new_answer(ANSWER_PROCEED, generation, 0, b"", b""))

    def decide(self, int slot, long long generation, Verdict verdict not None) -> None:
        """Answer a "decide"."""
        cdef Answer* answer = _new_answer(ANSWER_VERDICT, generation, 0, b"", b"")
        answer.verdict = verdict.data
        verdict_hold(verdict.data)
        self._wake(slot, answer)

    def fail(self, int slot, long long generation) -> None:
        """Nobody has a word about a "decide" or "filter"."""
        self._wake(slot, _new_answer(ANSWER_FAIL, generation, 0, b"", b""))

    def change(self, int slot, long long generation, *, bytes lines=b"", bytes drop=b"", str path="", query=None, int status=0) -> None:
        """Answer a "filter": it passes, with these changes (see engine.pyi)."""
        cdef Answer* answer
        cdef FilterChange* change
        change = NULL if not (lines or drop or path or query is not None or status) else new_change(lines, drop, path, query, status)
        try:
            answer = _new_answer(ANSWER_CHANGE, generation, status, b"", b"")
        except MemoryError:
            free(change)
            raise
        answer.change = change
        self._wake(slot, answer)

    cdef int _wake(self, int slot, Answer* answer) except -1:
        if not 0 <= slot < WAITS_MAX:
            answer_free(answer)
            raise ValueError(f"no consult slot {slot}")
        wait_wake(&self.core.context, slot, answer)
        return 0

    cdef bint _command(self, int kind):
        cdef RingItem item
        item.kind = kind
        pushed = ring_push(&self.core.commands, &item)
        self._ring_door()
        return pushed

    cdef void _ring_door(self) noexcept:
        cdef uint64_t one = 1
        write(self.core.door_fd, &one, sizeof(one))

    def events_fileno(self) -> int:
        """Readable when `take_events` has something."""
        return self.core.events.fd

    def take_events(self) -> list:
        """What the engine has said since the last call, oldest first (see engine.pyi)."""
        cdef EventNode* node = events_take(&self.core.events)
        cdef EventNode* following
        cdef ServerData* server
        cdef InvalidUrl* told
        cdef uint64_t number
        out = []
        while node != NULL:
            following = node.next
            kind = node.kind
            server = <ServerData*>node.subject   # or, of an ack, whether the engine took it
            event_done(node)
            number = load_u64(&node.number)
            if kind == EVENT_ACK:
                if server != NULL:   # taken by the engine: of the logs, only the one that counts from here on is still written to
                    self._logs = self._logs[max((i for i, (since, _) in enumerate(self._logs) if since <= number), default=0):]
                out.append(("ack", number))
            elif kind == EVENT_RETIRED:
                self._published = [s for s in self._published if s.generation != number]
                out.append(("retired", number))
            elif kind == EVENT_EJECTED:
                out.append(("ejected", (<bytes>server.label.data[:server.label.size]).decode(),
                            (<bytes>server.upstream.data[:server.upstream.size]).decode()))
                server_drop(server)
            elif kind == EVENT_CONSULT:
                question = _consult(number, &self.core.context.waits[<int>(number & 0xFFFF)])
                if question is not None:
                    out.append(question)
            elif kind == EVENT_INVALID:
                told = <InvalidUrl*>server
                out.append(("invalidated", (<const char*>(told + 1))[:told.size].decode("latin-1")))
                free(told)
            elif kind == EVENT_STORED:
                out.append(("stored", stored_object(<Object*>server, self._store)))
            else:
                out.append(("drained",))
            node = following
        return out

    @property
    def heartbeat(self) -> int:
        """Grows about once a second while the engine's loop turns."""
        return load_u64(&self.core.heartbeat)

    def stats(self) -> dict:
        cdef Context* context = &self.core.context
        return {
            "heartbeat": load_u64(&self.core.heartbeat), "turns": load_u64(&self.core.turns),
            "loop_lag_seconds": max(0, load_i64(&self.core.lag_us)) / 1e6, "cpu_seconds": load_i64(&self.core.cpu_us) / 1e6,
            "connections": load_i64(&context.client_count), "exchanges": load_i64(&context.exchange_count),
            "flows": load_i64(&context.flow_count),
            "buffers_bytes": load_i64(&context.buffers.bytes_out), "consults_refused": load_u64(&context.waits_refused),
            "consults_late": load_u64(&context.waits_late), "commands_refused": load_u64(&self.core.commands.refused),
            "snapshot": context.snapshot.generation if context.snapshot != NULL else 0,
        }


cdef tuple _consult(uint64_t number, WaitSlot* slot):
    """The question that waits at a slot. One that has been overtaken by the slot's next use speaks for that, and None then stands for
    the next: it was told already."""
    cdef WaitQuestion* question
    cdef const char* text
    kind = (number >> 16) & 0xFFFF
    if kind == CONSULT_READY or kind == CONSULT_LIVE:
        # All is in the number. A text that waits here is of an earlier use, which is over, or of a later one, which has its own event.
        return ("consult", <int>(number & 0xFFFF), number >> 32, _CONSULT_WORDS[kind], b"")
    question = <WaitQuestion*>exchange_ptr(&slot.question, NULL)
    if question == NULL:
        return None
    kind = question.kind
    text = <const char*>(question + 1)
    first = text[:question.text_size]
    second = text[question.text_size:question.text_size + question.variant_size] if question.has_variant else None
    generation = question.generation
    subject = question.subject
    digest = (<const char*>&question.digest_high)[:8] + (<const char*>&question.digest_low)[:8]
    free(question)
    where = <int>(number & 0xFFFF)
    if kind == CONSULT_LOOKUP:
        return ("lookup", where, generation, first, second)
    if kind == CONSULT_DECIDE:
        return ("decide", where, generation, subject, first, second, digest)
    if kind == CONSULT_FILTER or kind == CONSULT_FILTER_ANSWER:
        return ("filter", where, generation, subject, "request" if kind == CONSULT_FILTER else "response", first)
    return ("consult", where, generation, _CONSULT_WORDS[kind], first)


cdef Answer* _new_answer(int kind, long long generation, int status, bytes head, bytes body) except NULL:
    cdef Answer* answer = <Answer*>malloc(sizeof(Answer) + len(head) + len(body))
    cdef char* text
    if answer == NULL:
        raise MemoryError
    answer.kind = kind
    answer.generation = <uint32_t>generation
    answer.status = status
    answer.verdict = NULL
    answer.change = NULL
    answer.head_size = len(head)
    answer.body_size = len(body)
    text = <char*>(answer + 1)
    memcpy(text, <const char*>head, len(head))
    memcpy(text + len(head), <const char*>body, len(body))
    return answer


_CONSULT_WORDS = {CONSULT_PURGE: "purge", CONSULT_READY: "ready", CONSULT_LIVE: "live"}
# Our name in Via, made anew for each process so that a request that comes back to this process is recognised (RFC 9110 §7.6.3).
_PSEUDONYM = b"proxyd-" + os.urandom(4).hex().encode()
