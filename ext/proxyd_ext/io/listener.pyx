# cython: cdivision=True
"""Listeners (see listener.pxd)."""
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from proxyd_ext.core.ending cimport end_word
from proxyd_ext.core.live cimport LIVE_LISTENER, live_born, live_died
from proxyd_ext.core.shim cimport fetch_add_i64, load_acquire_ptr, load_i64, load_u64, store_release_ptr
from proxyd_ext.core.stats cimport count_collect
from proxyd_ext.io.acceptor cimport Acceptor
from proxyd_ext.io.sys cimport close

_REJECTIONS = {0: "other", REJECT_CLIENT_LIMIT: "client_limit", REJECT_MEMORY: "memory", REJECT_FDS: "fd_exhausted",
               REJECT_HEAD_TIMEOUT: "head_timeout", REJECT_DENIED: "denied", REJECT_CONNECTIONS: "connections",
               REJECT_PROXY: "proxy_header", REJECT_HELLO: "hello", REJECT_NAME: "name", REJECT_AMPLIFICATION: "amplification",
               REJECT_SEND: "send", REJECT_DRAINING: "draining", REJECT_TRUNCATED: "truncated"}


cdef int _socket_count(const ListenerData* listener, int engine, int engines) noexcept nogil:
    """How many descriptors are the engine's."""
    return 1 if listener.shared else (listener.fd_count - engine + engines - 1) // engines if engine < listener.fd_count else 0


cdef ListenerLocal* listener_join(ListenerData* listener, int engine, int engines) noexcept nogil:
    cdef ListenerLocal* local = listener.local[engine]
    cdef int count, i
    if local == NULL:
        if listener.engines == 0:
            listener.engines = engines
        count = _socket_count(listener, engine, engines)
        local = <ListenerLocal*>calloc(1, sizeof(ListenerLocal) + count * sizeof(Acceptor))
        if local != NULL:
            local.listener = listener
            local.socket_count = count
            local.acceptors = <Acceptor*>(local + 1)
            for i in range(count):
                local.acceptors[i].fd = -1
            store_release_ptr(<void**>&listener.local[engine], local)
    return local


cdef void listener_hold(ListenerData* listener) noexcept nogil:
    fetch_add_i64(&listener.refs, 1)


cdef void listener_drop(ListenerData* listener) noexcept nogil:
    cdef int i
    if fetch_add_i64(&listener.refs, -1) != 1:
        return
    for i in range(ENGINES_MAX):
        free(listener.local[i])
    free(listener)
    live_died(LIVE_LISTENER)


cdef class Listener:
    """One bound address: listening, non-blocking sockets, spread over the engines, or `shared` by them. Owns the descriptors."""

    def __cinit__(self, str name, str address, fds, bint shared):
        cdef int i
        cdef bytes text = name.encode()
        if not 0 < len(fds) <= ENGINES_MAX or len(text) > 127:
            raise ValueError(f"a listener has 1 to {ENGINES_MAX} sockets and a name of at most 127 bytes")
        self.name = name
        self.address = address
        self.data = <ListenerData*>calloc(1, sizeof(ListenerData))
        if self.data == NULL:
            raise MemoryError
        live_born(LIVE_LISTENER)
        self.data.refs = 1
        self.data.shared = shared
        self.data.is_unix = address.startswith("unix:")
        memcpy(self.data.name_text, <const char*>text, len(text))
        self.data.name.data = self.data.name_text
        self.data.name.size = len(text)
        for i in range(ENGINES_MAX):
            self.data.fds[i] = -1
        self.data.fd_count = len(fds)
        for i in range(self.data.fd_count):
            self.data.fds[i] = fds[i]

    def __dealloc__(self):
        cdef int i
        if self.data == NULL:
            return
        for i in range(self.data.fd_count):
            if self.data.fds[i] >= 0:
                close(self.data.fds[i])
                self.data.fds[i] = -1
        listener_drop(self.data)

    def stats(self) -> dict:
        cdef ListenerLocal* local
        cdef uint64_t accepted = 0, refused = 0, bytes_in = 0, bytes_out = 0, packets_in = 0, packets_out = 0
        cdef int64_t open_count = 0, in_flight = 0
        cdef int i, k
        rejected = {}
        ended = {}
        for i in range(ENGINES_MAX):
            local = <ListenerLocal*>load_acquire_ptr(<void**>&self.data.local[i])
            if local == NULL:
                continue
            accepted += load_u64(&local.accepted)
            open_count += load_i64(&local.open_count)
            in_flight += load_i64(&local.in_flight)
            count_collect(&local.rejected, rejected)
            for k in range(local.socket_count):
                refused += load_u64(&local.acceptors[k].refused)
            bytes_in += load_u64(&local.bytes_in)
            bytes_out += load_u64(&local.bytes_out)
            packets_in += load_u64(&local.packets_in)
            packets_out += load_u64(&local.packets_out)
            count_collect(&local.ended, ended)
        words = {_REJECTIONS[code]: count for code, count in rejected.items()}
        if refused:
            words["fd_exhausted"] = refused
        return {
            "accepted": accepted, "open": open_count, "rejected": words, "in_flight": in_flight, "bytes_in": bytes_in,
            "bytes_out": bytes_out, "packets_in": packets_in, "packets_out": packets_out,
            "ended": {(<bytes>end_word(end)).decode(): count for end, count in ended.items()},
        }
