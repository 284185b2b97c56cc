# cython: cdivision=True
"""Heads of syslog messages: how urgent, when, from whom.

- to a daemon of the same machine, `<134>Nov 21 14:02:11 proxyd[123]: `, which is what syslog(3) sends and what rsyslog and journald read
  from their sockets (RFC 3164 without the machine's name; they do not look for RFC 5424 there);
- to anywhere else, RFC 5424: `<134>1 2026-11-21T14:02:11.000123Z machine proxyd 123 access - `;
- in a file, what a daemon makes of the first: `Nov 21 14:02:11 machine proxyd[123]: `.

The time is the record's. The facility is local0. The severity is error for 5xx, warning for 4xx, informational for all others; for flows
that failed, the same by the status of their fault.
"""
from libc.stdint cimport uint8_t, uint16_t
from proxyd_ext.core.fault cimport fault_info
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.log.fields cimport RecordFields
from proxyd_ext.log.record cimport RECORD_HTTP, AccessRecord
from proxyd_ext.log.rules cimport FRAME_FILE, FRAME_LOCAL, FRAME_MAX, FRAME_NONE, FRAME_RFC5424, LogRules, Rules
from proxyd_ext.log.text cimport (
    Moment, Out, local_moment_of, moment_of, out_of, put_byte, put_clock, put_month, put_rfc3339, put_slice, put_text, put_uint)


cdef enum:
    FACILITY_LOCAL0 = 16
    SEVERITY_ERROR = 3
    SEVERITY_WARNING = 4
    SEVERITY_INFORMATIONAL = 6


cdef int _severity(const AccessRecord* r) noexcept nogil:
    cdef uint16_t status = r.status if r.kind == RECORD_HTTP else fault_info(r.fault).status
    if status >= 500:
        return SEVERITY_ERROR
    return SEVERITY_WARNING if status >= 400 else SEVERITY_INFORMATIONAL


cdef void _put_priority(Out* o, const AccessRecord* r) noexcept nogil:
    put_byte(o, c'<')
    put_uint(o, FACILITY_LOCAL0 * 8 + _severity(r))
    put_byte(o, c'>')


cdef void _put_stamp(Out* o, const AccessRecord* r) noexcept nogil:
    """RFC 3164 §4.1.2: `Nov  1 14:02:11 `, by the clock of this machine's place."""
    cdef Moment m = local_moment_of(r.time_us)
    put_month(o, &m)
    put_text(o, b"  " if m.mday < 10 else b" ")
    put_uint(o, m.mday)
    put_byte(o, c' ')
    put_clock(o, &m)
    put_byte(o, c' ')


cdef void _put_rfc5424(Out* o, const LogRules* rules, const AccessRecord* r) noexcept nogil:
    cdef Moment m = moment_of(r.time_us)
    _put_priority(o, r)
    put_text(o, b"1 ")
    put_rfc3339(o, &m)
    put_byte(o, c' ')
    put_slice(o, rules.machine)
    put_byte(o, c' ')
    put_slice(o, rules.program)
    put_text(o, b" access - ")


cdef size_t frame_head(const LogRules* rules, const AccessRecord* r, uint8_t* out) noexcept nogil:
    cdef Out o = out_of(out, FRAME_MAX)
    if rules.frame == FRAME_NONE:
        return 0
    if rules.frame == FRAME_RFC5424:
        _put_rfc5424(&o, rules, r)
    elif rules.frame == FRAME_LOCAL:
        _put_priority(&o, r)
        _put_stamp(&o, r)
        put_slice(&o, rules.program)
        put_text(&o, b": ")
    else:
        INVARIANT(rules.frame == FRAME_FILE)
        _put_stamp(&o, r)
        put_slice(&o, rules.machine)
        put_byte(&o, c' ')
        put_slice(&o, rules.program)
        put_text(&o, b": ")
    INVARIANT(not o.full)
    return o.at - out


def framed(Rules rules not None, record):
    """The head of the record's message, for tests and tools."""
    cdef RecordFields fields = RecordFields(record)
    cdef uint8_t[FRAME_MAX] out
    return (<const char*>&out[0])[:frame_head(&rules.rules, &fields.record, &out[0])]
