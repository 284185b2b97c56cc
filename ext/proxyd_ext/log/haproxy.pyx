# cython: cdivision=True
"""HAProxy's log formats, so that `halog` and what else reads them read these: HTTP log for exchanges, TCP log for flows (its manual,
chapter 8.2).

    10.0.1.2:33317 [06/Feb/2009:12:14:14.655] web api/10.0.3.1:8000 0/0/30/69/109 200 2750 - - ---- 0/0/0/0/0 0/0 "GET /x HTTP/1.1"

What comes before it on a line of syslog (time, machine, program) is written by frame.pyx.  Times are of this machine's place, as HAProxy's.

What proxyd does not count for each request is 0: the time that a head took to come (TR), connections open at the same time, places
in queues; but for who waited in a queue the last of these is 1, so that `halog -Q` finds him.  No cookies are noted.  Bytes that are no
ink, and those that mean something in this format, are `#XX`.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from proxyd_ext.core.ending cimport (
    END_AGE, END_CLIENT_RESET, END_DOWN, END_DRAIN, END_EVICTED, END_IDLE, END_REFUSED, END_SERVER_RESET, END_SHUTDOWN)
from proxyd_ext.core.fault cimport (
    FAULT_BODY_TIMEOUT, FAULT_CIRCUIT_OPEN, FAULT_CLIENT_CLOSED, FAULT_CLIENT_STALLED, FAULT_CONNECT_FAILED, FAULT_CONNECT_REFUSED,
    FAULT_CONNECT_TIMEOUT, FAULT_CONNECT_UNREACHABLE, FAULT_FD_EXHAUSTED, FAULT_HEAD_TIMEOUT, FAULT_MEMORY, FAULT_NO_ROUTE,
    FAULT_NO_SERVER, FAULT_NONE, FAULT_NOT_CACHED, FAULT_NOT_STORED, FAULT_OVERLOADED, FAULT_PLACES_FULL, FAULT_PLACES_TIMEOUT,
    FAULT_PREFACE_TIMEOUT, FAULT_QUEUE_FULL, FAULT_QUEUE_TIMEOUT, FAULT_SERVER_DOWN, FAULT_SHED, FAULT_TOTAL_TIMEOUT,
    FAULT_UPGRADE_UNEXPECTED, FAULT_UPSTREAM_CHUNK, FAULT_UPSTREAM_CLOSED, FAULT_UPSTREAM_FIRST_BYTE_TIMEOUT, FAULT_UPSTREAM_FRAMING,
    FAULT_UPSTREAM_HEAD_MALFORMED, FAULT_UPSTREAM_HEAD_TOO_LARGE, FAULT_UPSTREAM_READ_TIMEOUT, FAULT_UPSTREAM_RESET,
    FAULT_UPSTREAM_TRUNCATED, FAULT_UPSTREAM_TRY_TIMEOUT, FAULT_UPSTREAM_WRITE_TIMEOUT)
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.log.forms cimport end_line
from proxyd_ext.log.record cimport RECORD_UDP, STATUS_BY_CACHE, STATUS_BY_PROXYD, T_NONE, AccessRecord
from proxyd_ext.log.text cimport Moment, Out, local_moment_of, out_of, put_byte, put_day_and_clock, put_padded, put_text, put_uint


cdef void _put_string(Out* o, Slice s) noexcept nogil:
    """As HAProxy encodes what it captured: `#` and two hex digits."""
    cdef size_t i
    cdef uint8_t c
    for i in range(s.size):
        c = s.data[i]
        if 0x20 < c < 0x7F and c not in (c'"', c'#', c'{', c'|', c'}'):
            put_byte(o, c)
        else:
            put_byte(o, c'#')
            put_byte(o, (<const char*>b"0123456789ABCDEF")[c >> 4])
            put_byte(o, (<const char*>b"0123456789ABCDEF")[c & 15])


cdef void _put_or_dash(Out* o, Slice s) noexcept nogil:
    """Readers count by blanks: no field is empty."""
    if s.size:
        _put_string(o, s)
    else:
        put_byte(o, c'-')


cdef inline void _put_ms(Out* o, uint32_t us) noexcept nogil:
    """A time and its slash; -1: it does not apply."""
    if us == T_NONE:
        put_text(o, b"-1/")
    else:
        put_uint(o, us // 1_000)
        put_byte(o, c'/')


# ---------------------------------------------------------------- how it ended

cdef inline bint _waited(const AccessRecord* r) noexcept nogil:
    return r.t_queue_us != T_NONE and r.t_queue_us > 0


cdef bint _begun(const AccessRecord* r) noexcept nogil:
    return r.t_first_byte_us != T_NONE or r.bytes_out > 0


cdef uint8_t _waited_for(const AccessRecord* r) noexcept nogil:
    """The session state when somebody left: Data, Headers of the server, Queue, Connection, Request."""
    if _begun(r):
        return c'D'
    if r.server.size:
        return c'H'
    if r.upstream.size:
        return c'Q' if _waited(r) else c'C'
    return c'R'


cdef const char* _state_of(int fault) noexcept nogil:
    """Cause and session state of a fault that has one pair of them, whenever it happens."""
    if fault in (FAULT_HEAD_TIMEOUT, FAULT_PREFACE_TIMEOUT):
        return b"cR"
    if fault in (FAULT_BODY_TIMEOUT, FAULT_CLIENT_STALLED):
        return b"cD"
    if fault in (FAULT_QUEUE_TIMEOUT, FAULT_PLACES_TIMEOUT, FAULT_SHED):
        return b"sQ"
    if fault in (FAULT_NO_SERVER, FAULT_CIRCUIT_OPEN, FAULT_QUEUE_FULL, FAULT_PLACES_FULL, FAULT_CONNECT_REFUSED,
                 FAULT_CONNECT_UNREACHABLE, FAULT_CONNECT_FAILED):
        return b"SC"
    if fault == FAULT_CONNECT_TIMEOUT:
        return b"sC"
    if fault in (FAULT_UPSTREAM_CLOSED, FAULT_UPSTREAM_RESET):
        return b"SH"
    if fault in (FAULT_UPSTREAM_FIRST_BYTE_TIMEOUT, FAULT_UPSTREAM_TRY_TIMEOUT, FAULT_UPSTREAM_WRITE_TIMEOUT):
        return b"sH"
    if fault in (FAULT_UPSTREAM_HEAD_MALFORMED, FAULT_UPSTREAM_HEAD_TOO_LARGE, FAULT_UPSTREAM_FRAMING, FAULT_UPGRADE_UNEXPECTED):
        return b"PH"
    if fault == FAULT_UPSTREAM_READ_TIMEOUT:
        return b"sD"
    if fault in (FAULT_UPSTREAM_TRUNCATED, FAULT_UPSTREAM_CHUNK):
        return b"SD"
    if fault == FAULT_SERVER_DOWN:
        return b"DD"
    if fault in (FAULT_MEMORY, FAULT_FD_EXHAUSTED, FAULT_OVERLOADED):
        return b"RC"
    if fault in (FAULT_NO_ROUTE, FAULT_NOT_CACHED, FAULT_NOT_STORED):
        return b"LR"
    return b"PR"    # refused: not well-formed, denied, over a limit, without a credential


cdef void _put_state(Out* o, const AccessRecord* r) noexcept nogil:
    """The first two letters of HAProxy's termination state (its manual, chapter 8.5)."""
    if r.fault == FAULT_NONE:
        put_text(o, b"LR" if r.status_by == STATUS_BY_PROXYD else b"--")
    elif r.fault in (FAULT_CLIENT_CLOSED, FAULT_TOTAL_TIMEOUT):
        put_byte(o, c'C' if r.fault == FAULT_CLIENT_CLOSED else c's')
        put_byte(o, _waited_for(r))
    else:
        put_text(o, _state_of(r.fault))


cdef void _put_flow_state(Out* o, const AccessRecord* r) noexcept nogil:
    if r.end == END_REFUSED and r.fault != FAULT_CLIENT_CLOSED:
        put_text(o, _state_of(r.fault))
    elif r.end == END_REFUSED:
        put_text(o, b"CC")
    elif r.end == END_CLIENT_RESET:
        put_text(o, b"CD")
    elif r.end == END_SERVER_RESET:
        put_text(o, b"SD")
    elif r.end == END_IDLE and r.kind != RECORD_UDP:    # that is how datagrams end
        put_text(o, b"cD")
    elif r.end in (END_AGE, END_DRAIN):
        put_text(o, b"PD")
    elif r.end == END_DOWN:
        put_text(o, b"DD")
    elif r.end == END_EVICTED:
        put_text(o, b"RD")
    elif r.end == END_SHUTDOWN:
        put_text(o, b"KD")
    else:
        put_text(o, b"--")


# ---------------------------------------------------------------- what both lines have

cdef void _put_begin(Out* o, const AccessRecord* r) noexcept nogil:
    """`10.0.1.2:33317 [06/Feb/2009:12:14:14.655] web api/10.0.3.1:8000 `; the time is that of the beginning."""
    cdef Moment m = local_moment_of(r.time_us - <int64_t>r.t_total_us)
    _put_or_dash(o, r.client_ip)
    put_byte(o, c':')
    put_uint(o, r.client_port)
    put_text(o, b" [")
    put_day_and_clock(o, &m)
    put_byte(o, c'.')
    put_padded(o, m.us // 1_000, 3)
    put_text(o, b"] ")
    _put_or_dash(o, r.listener)
    if r.tls:
        put_byte(o, c'~')
    put_byte(o, c' ')
    _put_or_dash(o, r.upstream if r.upstream.size else r.listener)
    put_byte(o, c'/')
    if r.status_by == STATUS_BY_CACHE:
        put_text(o, b"<CACHE>")
    elif r.server.size:
        _put_string(o, r.server)
    else:
        put_text(o, b"<NOSRV>")
    put_byte(o, c' ')


cdef void _put_counts(Out* o, const AccessRecord* r) noexcept nogil:
    """` actconn/feconn/beconn/srv_conn/retries srv_queue/backend_queue`"""
    put_text(o, b" 0/0/0/0/")
    put_uint(o, r.attempts - 1 if r.attempts > 1 else 0)
    put_text(o, b" 0/1" if _waited(r) else b" 0/0")


cdef inline bint _chose(const AccessRecord* r) noexcept nogil:
    """Whether a server was chosen for it."""
    return r.server.size != 0 and r.status_by != STATUS_BY_CACHE


cdef inline bint _reached(const AccessRecord* r) noexcept nogil:
    """Whether it had a connection to a server."""
    return _chose(r) and r.fault not in (
        FAULT_CONNECT_REFUSED, FAULT_CONNECT_TIMEOUT, FAULT_CONNECT_UNREACHABLE, FAULT_CONNECT_FAILED)


cdef void _put_waits(Out* o, const AccessRecord* r) noexcept nogil:
    """`Tw/Tc/`: 0 where there was a server and neither a wait nor, the connection being a pooled one, a connect."""
    _put_ms(o, r.t_queue_us if _waited(r) else 0 if _chose(r) else T_NONE)
    _put_ms(o, T_NONE if not _reached(r) else 0 if r.t_connect_us == T_NONE else r.t_connect_us)


# ---------------------------------------------------------------- the lines

cdef void _put_request(Out* o, const AccessRecord* r) noexcept nogil:
    if not r.method.size:
        put_text(o, b"<BADREQ>")
        return
    _put_string(o, r.method)
    put_byte(o, c' ')
    _put_or_dash(o, r.path)
    if r.query.data != NULL:
        put_byte(o, c'?')
        _put_string(o, r.query)
    put_text(o, b" HTTP/1.")
    put_uint(o, r.minor)


cdef size_t render_haproxy(const AccessRecord* r, uint8_t* out, size_t cap) noexcept nogil:
    cdef Out line = out_of(out, cap)
    cdef Out* o = &line
    _put_begin(o, r)
    put_text(o, b"0/" if r.method.size else b"-1/")
    _put_waits(o, r)
    _put_ms(o, r.t_first_byte_us if _reached(r) else T_NONE)
    put_uint(o, r.t_total_us // 1_000)
    put_byte(o, c' ')
    put_padded(o, r.status, 3)
    put_byte(o, c' ')
    put_uint(o, r.bytes_out)
    put_text(o, b" - - ")
    _put_state(o, r)
    put_text(o, b"--")
    _put_counts(o, r)
    put_text(o, b' "')
    _put_request(o, r)
    put_byte(o, c'"')
    return end_line(o, out)


cdef size_t flow_haproxy(const AccessRecord* r, uint8_t* out, size_t cap) noexcept nogil:
    cdef Out line = out_of(out, cap)
    cdef Out* o = &line
    _put_begin(o, r)
    _put_waits(o, r)
    put_uint(o, r.t_total_us // 1_000)
    put_byte(o, c' ')
    put_uint(o, r.bytes_out)
    put_byte(o, c' ')
    _put_flow_state(o, r)
    _put_counts(o, r)
    return end_line(o, out)
