# cython: cdivision=True
"""Servers and upstream state (see server.pxd): birth, death, and what Python sees of them."""
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from proxyd_ext.balance.ewma cimport ewma_estimate
from proxyd_ext.core.classes cimport CLASSES, count_classes, count_sum
from proxyd_ext.core.events cimport EVENT_EJECTED
from proxyd_ext.core.fault cimport fault_info
from proxyd_ext.core.live cimport LIVE_SERVER, live_born, live_died
from proxyd_ext.core.shim cimport (
    fetch_add_i64, fetch_add_int, fetch_add_u64, fetch_and_int, fetch_or_int, load_acquire_ptr, load_i64, load_int, load_u64,
    store_i64, store_int, store_release_ptr,
)
from proxyd_ext.core.stats cimport count_collect
from proxyd_ext.io.sys cimport (
    AF_INET, AF_INET6, AF_UNIX, htons, inet_pton, sockaddr_in, sockaddr_in6, sockaddr_un,
)

_DOWN = {"health": DOWN_HEALTH, "maint": DOWN_MAINT, "drain": DOWN_DRAIN, "pending": DOWN_PENDING}


cdef ServerLocal* server_join(ServerData* server, int engine) noexcept nogil:
    cdef ServerLocal* local = server.local[engine]
    if local == NULL:
        local = <ServerLocal*>calloc(1, sizeof(ServerLocal))
        if local != NULL:
            local.ejected.kind = EVENT_EJECTED    # here, because nobody may write to a node that is queued
            local.ejected.subject = server
            store_release_ptr(<void**>&server.local[engine], local)
    return local


cdef void server_hold(ServerData* server) noexcept nogil:
    fetch_add_i64(&server.refs, 1)


cdef void server_drop(ServerData* server) noexcept nogil:
    cdef int i
    if fetch_add_i64(&server.refs, -1) != 1:
        return
    for i in range(ENGINES_MAX):
        free(server.local[i])
    free(server)
    live_died(LIVE_SERVER)


cdef int64_t server_clock_ms() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1000 + t.tv_nsec // 1000000


cdef class Server:
    """One address of one upstream. `label` is what users read; `address` is an (IP literal, port) pair or a unix socket's path."""

    def __cinit__(self, str upstream, str label, address):
        cdef sockaddr_in* v4
        cdef sockaddr_in6* v6
        cdef sockaddr_un* local
        cdef bytes name = upstream.encode()
        cdef bytes text = label.encode()
        cdef bytes host
        cdef bytes path
        if len(name) > 127 or len(text) > 191:
            raise ValueError("a server's upstream name has at most 127 bytes, its label 191")
        self.data = <ServerData*>calloc(1, sizeof(ServerData))
        if self.data == NULL:
            raise MemoryError
        live_born(LIVE_SERVER)
        self.data.refs = 1
        self.data.heap_at = -1
        memcpy(self.data.upstream_text, <const char*>name, len(name))
        self.data.upstream.data = self.data.upstream_text
        self.data.upstream.size = len(name)
        memcpy(self.data.label_text, <const char*>text, len(text))
        self.data.label.data = self.data.label_text
        self.data.label.size = len(text)
        if isinstance(address, str):
            path = address.encode()
            local = <sockaddr_un*>self.data.address
            if len(path) > 107:
                raise ValueError(f"a unix socket path has at most 107 bytes: {address}")
            local.sun_family = AF_UNIX
            memcpy(local.sun_path, <const char*>path, len(path))
            self.data.address_size = sizeof(sockaddr_un)
            return
        host = address[0].encode()
        port = int(address[1])
        if not 0 < port < 65536:
            raise ValueError(f"not a port: {port}")
        v4 = <sockaddr_in*>self.data.address
        v6 = <sockaddr_in6*>self.data.address
        if inet_pton(AF_INET, host, &v4.sin_addr) == 1:
            v4.sin_family = AF_INET
            v4.sin_port = htons(port)
            self.data.address_size = sizeof(sockaddr_in)
            return
        if inet_pton(AF_INET6, host, &v6.sin6_addr) == 1:
            v6.sin6_family = AF_INET6
            v6.sin6_port = htons(port)
            self.data.address_size = sizeof(sockaddr_in6)
            return
        raise ValueError(f"not an IP address: {address[0]}")

    def __dealloc__(self):
        if self.data != NULL:
            server_drop(self.data)

    @property
    def upstream(self) -> str:
        return (<bytes>self.data.upstream.data[:self.data.upstream.size]).decode()

    @property
    def label(self) -> str:
        return (<bytes>self.data.label.data[:self.data.label.size]).decode()

    def set_down(self, str reason, bint on) -> None:
        """Say that the server is (not) down for "health", "maint", "drain" or "pending". Every engine's next pick sees it."""
        cdef int bit = _DOWN[reason]
        if on:
            fetch_or_int(&self.data.down, bit)
        else:
            fetch_and_int(&self.data.down, ~bit)

    def eject(self, long long ms) -> None:
        """Keep the server out for `ms` milliseconds from now."""
        store_i64(&self.data.ejected_until_ms, server_clock_ms() + ms)
        fetch_add_u64(&self.data.ejections, 1)
        fetch_add_int(&self.data.ejected_in_row, 1)

    def readmit(self) -> None:
        """End an ejection and forget the failures that led to it."""
        store_i64(&self.data.ejected_until_ms, 0)
        store_int(&self.data.failures, 0)

    def forgive(self) -> None:
        """One ejection less counts for the length of the next one."""
        cdef int row = load_int(&self.data.ejected_in_row)
        if row > 0:
            store_int(&self.data.ejected_in_row, row - 1)

    def ramp(self) -> None:
        """Its slow start begins now: pools that are built from here on give it a share that grows to its whole weight."""
        store_i64(&self.data.ramp_from_ms, server_clock_ms())

    def state(self) -> dict:
        cdef int64_t left = load_i64(&self.data.ejected_until_ms) - server_clock_ms()
        cdef int down = load_int(&self.data.down)
        return {
            "usable": down == 0 and left <= 0,
            "down": [word for word, bit in _DOWN.items() if down & bit],
            "ejected_for_ms": left if left > 0 else 0,
            "ejections": load_u64(&self.data.ejections),
            "consecutive_failures": load_int(&self.data.failures),
            "ejections_in_row": load_int(&self.data.ejected_in_row),
        }

    def stats(self) -> dict:
        cdef ServerLocal* local
        cdef int i
        cdef int64_t active = 0, idle = 0
        cdef uint64_t opened = 0, bytes_in = 0, bytes_out = 0, answers = 0, answers_us = 0, flows = 0
        responses = {}
        faults = {}
        for i in range(ENGINES_MAX):
            local = <ServerLocal*>load_acquire_ptr(<void**>&self.data.local[i])
            if local == NULL:
                continue
            active += load_i64(&local.active_count)
            idle += load_i64(&local.idle_count)
            opened += load_u64(&local.opened)
            flows += load_u64(&local.flows)
            bytes_in += load_u64(&local.bytes_in)
            bytes_out += load_u64(&local.bytes_out)
            answers += load_u64(&local.answers)
            answers_us += load_u64(&local.answers_us)
            count_collect(&local.responses, responses)
            count_collect(&local.errors, faults)
        return {
            "in_flight": load_i64(&self.data.in_flight), "connections_active": active, "connections_idle": idle, "opened": opened,
            "requests": responses, "errors": _by_word(faults), "bytes_in": bytes_in, "bytes_out": bytes_out,
            "ejections": load_u64(&self.data.ejections), "latency_count": answers, "latency_sum_seconds": answers_us / 1e6,
            "flows": flows, "ewma_seconds": ewma_estimate(&self.data.ewma, server_clock_ms()) / 1e6,
        }

    def figures(self) -> tuple:
        cdef ServerLocal* local
        cdef uint64_t[CLASSES] classes
        cdef uint64_t failures = 0, bytes_in = 0, bytes_out = 0, answers_us = 0
        cdef int i
        memset(classes, 0, sizeof(classes))
        for i in range(ENGINES_MAX):
            local = <ServerLocal*>load_acquire_ptr(<void**>&self.data.local[i])
            if local == NULL:
                continue
            count_classes(&local.responses, classes)
            failures += count_sum(&local.errors)
            bytes_in += load_u64(&local.bytes_in)
            bytes_out += load_u64(&local.bytes_out)
            answers_us += load_u64(&local.answers_us)
        return (classes[0], classes[1], classes[2], classes[3], classes[4], classes[5], failures, bytes_in, bytes_out, answers_us)


def _by_word(counts) -> dict:
    """{fault code: count} → {fault word: count}."""
    return {(<bytes>fault_info(code).word).decode() if code else "other": n for code, n in counts.items()}
