# cython: cdivision=True
"""The forms of an access record; those of flows are in flow.pyx, what both share in forms.pxd.

- `json`: one object a line. What does not apply is left out, so that `has("error")` is a question that can be asked.
- `combined`: Apache's combined log format, so that goaccess, awstats and their like read it.  Time is UTC.  What the record makes
  different: the path is in normal form, and the size counts the head, too (Apache's %O).
- `pretty`: for a person at a terminal: local time, a line that fits, words in place of numbers.
- `haproxy` and `logfmt` have files of their own, for exchanges and flows alike.
"""
from libc.stdint cimport uint8_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from proxyd_ext.core.fault cimport fault_info
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.log.fields cimport RecordFields
from proxyd_ext.log.flow cimport flow_combined, flow_json, flow_pretty
from proxyd_ext.log.forms cimport (
    apache_or_dash, apache_string, apache_time, end_line, json_begin, json_duration, json_end, json_fault, json_number, json_seconds,
    json_string, json_text, pretty_begin, pretty_duration, pretty_end, pretty_string)
from proxyd_ext.log.haproxy cimport flow_haproxy, render_haproxy
from proxyd_ext.log.logfmt cimport logfmt_of
from proxyd_ext.log.record cimport (
    CACHE_NONE, RECORD_HTTP, STATUS_BY_CACHE, STATUS_BY_PROXYD, STATUS_BY_UPSTREAM, T_NONE, TRACE_NONE, TRACE_SAMPLED, AccessRecord,
    TryNote)
from proxyd_ext.log.text cimport Out, out_of, put_byte, put_hex, put_padded, put_text, put_uint
from proxyd_ext.log.words cimport cache_word


cdef inline const char* _status_by(const AccessRecord* r) noexcept nogil:
    if r.status_by == STATUS_BY_UPSTREAM:
        return b"upstream"
    if r.status_by == STATUS_BY_CACHE:
        return b"cache"
    INVARIANT(r.status_by == STATUS_BY_PROXYD)
    return b"proxyd"


# ---------------------------------------------------------------- json

cdef inline void _json_cache(Out* o, const AccessRecord* r) noexcept nogil:
    if r.cache != CACHE_NONE:
        put_text(o, b',"cache":"')
        put_text(o, cache_word(r.cache))
        put_byte(o, c'"')
        if r.cache_age != T_NONE:
            json_number(o, b',"cache_age":', r.cache_age)


cdef inline void _json_trace(Out* o, const AccessRecord* r) noexcept nogil:
    """Our span has the id of the request."""
    json_text(o, b',"trace_id":', r.trace_id)
    if r.traced != TRACE_NONE:
        put_text(o, b',"span_id":"')
        put_hex(o, r.id, 16)
        put_byte(o, c'"')
        json_text(o, b',"parent_id":', r.parent_id)
        put_text(o, b',"sampled":true' if r.traced == TRACE_SAMPLED else b',"sampled":false')


cdef void _json_tries(Out* o, const AccessRecord* r) noexcept nogil:
    cdef TryNote note
    cdef size_t i, count = r.tries.size // sizeof(TryNote)
    for i in range(count):
        memcpy(&note, r.tries.data + i * sizeof(TryNote), sizeof(TryNote))
        put_text(o, b',{"server":' if i else b',"tries":[{"server":')
        json_string(o, slice_of(note.label, note.size))
        if note.fault:
            put_text(o, b',"error":"')
            put_text(o, fault_info(note.fault).proxy_error)
            put_byte(o, c'"')
        else:
            json_number(o, b',"status":', note.status)
        json_duration(o, b',"t":', note.us)
        put_byte(o, c'}')
    if count:
        put_byte(o, c']')


cdef size_t render_json(const AccessRecord* r, uint8_t* out, size_t cap) noexcept nogil:
    cdef Out line = out_of(out, cap)
    cdef Out* o = &line
    json_begin(o, r)
    _json_trace(o, r)
    json_text(o, b',"listener":', r.listener)
    json_text(o, b',"route":', r.route)
    json_text(o, b',"client.address":', r.client_ip)
    if r.client_port:
        json_number(o, b',"client.port":', r.client_port)
    json_text(o, b',"method":', r.method)
    put_text(o, b',"scheme":"https"' if r.tls else b',"scheme":"http"')
    json_text(o, b',"host":', r.host)
    json_text(o, b',"path":', r.path)
    if r.query.data != NULL:
        put_text(o, b',"query":')
        json_string(o, r.query)
    json_number(o, b',"protocol":"HTTP/1.', r.minor)
    put_byte(o, c'"')
    json_number(o, b',"status":', r.status)
    put_text(o, b',"status_by":"')
    put_text(o, _status_by(r))
    json_number(o, b'","bytes_in":', r.bytes_in)
    json_number(o, b',"bytes_out":', r.bytes_out)
    json_duration(o, b',"t_total":', r.t_total_us)
    json_seconds(o, b',"t_queue":', r.t_queue_us)
    json_seconds(o, b',"t_connect":', r.t_connect_us)
    json_seconds(o, b',"t_first_byte":', r.t_first_byte_us)
    json_text(o, b',"upstream":', r.upstream)
    json_text(o, b',"server":', r.server)
    if r.attempts:
        json_number(o, b',"attempts":', r.attempts)
    _json_tries(o, r)
    _json_cache(o, r)
    json_text(o, b',"policies":', r.policies)
    json_text(o, b',"user":', r.user)
    json_fault(o, r)
    json_text(o, b',"user_agent":', r.user_agent)
    json_text(o, b',"referer":', r.referer)
    return json_end(o, r, out)


# ---------------------------------------------------------------- combined

cdef void _apache_user(Out* o, Slice s) noexcept nogil:
    """Readers end this field at a blank, and names of users may have some."""
    cdef size_t i, begin = 0
    for i in range(s.size):
        if s.data[i] == c' ':
            apache_string(o, slice_of(s.data + begin, i - begin))
            put_text(o, b"\\x20")
            begin = i + 1
    if begin:
        apache_string(o, slice_of(s.data + begin, s.size - begin))
    else:
        apache_or_dash(o, s)


cdef size_t render_combined(const AccessRecord* r, uint8_t* out, size_t cap) noexcept nogil:
    cdef Out line = out_of(out, cap)
    cdef Out* o = &line
    apache_or_dash(o, r.client_ip)
    put_text(o, b" - ")
    _apache_user(o, r.user)
    apache_time(o, r)
    put_byte(o, c'"')
    if r.method.size:
        apache_string(o, r.method)
        put_byte(o, c' ')
        apache_or_dash(o, r.path)
        if r.query.data != NULL:
            put_byte(o, c'?')
            apache_string(o, r.query)
        put_text(o, b" HTTP/1.")
        put_uint(o, r.minor)
    else:
        put_byte(o, c'-')    # no request line was understood
    put_text(o, b'" ')
    put_padded(o, r.status, 3)
    put_byte(o, c' ')
    if r.body_out:
        put_uint(o, r.body_out)      # %b: without heads
    else:
        put_byte(o, c'-')
    put_text(o, b' "')
    apache_or_dash(o, r.referer)
    put_text(o, b'" "')
    apache_or_dash(o, r.user_agent)
    put_byte(o, c'"')
    return end_line(o, out)


# ---------------------------------------------------------------- pretty

cdef void _pretty_status(Out* o, uint16_t status, bint color) noexcept nogil:
    """Green for success, cyan for redirects, yellow for the client's faults, red for ours and the origin's."""
    if color:
        if status >= 500:
            put_text(o, b"\x1b[31m")
        elif status >= 400:
            put_text(o, b"\x1b[33m")
        elif status >= 300:
            put_text(o, b"\x1b[36m")
        else:
            put_text(o, b"\x1b[32m")
    put_padded(o, status, 3)
    if color:
        put_text(o, b"\x1b[0m")


cdef inline void _pretty_path(Out* o, const AccessRecord* r) noexcept nogil:
    pretty_string(o, r.host)
    pretty_string(o, r.path)
    if r.query.data != NULL:
        put_byte(o, c'?')
        pretty_string(o, r.query)


cdef inline void _pretty_gap(Out* o, bint begun) noexcept nogil:
    put_text(o, b"  " if begun else b"   ")


cdef void _pretty_outcome(Out* o, const AccessRecord* r) noexcept nogil:
    """Who answered, what the cache had to do with it, and what went wrong."""
    cdef bint begun = r.upstream.size != 0
    if r.upstream.size:
        put_text(o, b"   ")
        pretty_string(o, r.upstream)
        if r.server.size:
            put_text(o, b"\xe2\x86\x92")    # →
            pretty_string(o, r.server)
    if r.status_by == STATUS_BY_CACHE or r.cache != CACHE_NONE:
        _pretty_gap(o, begun)
        begun = True
        put_text(o, b"cache " if r.cache != CACHE_NONE else b"from cache")
        put_text(o, cache_word(r.cache))
        if r.cache_age != T_NONE:
            put_text(o, b", ")
            put_uint(o, r.cache_age)
            put_text(o, b"s old")
    if r.fault:
        _pretty_gap(o, begun)
        put_text(o, fault_info(r.fault).sentence)
    if r.attempts > 1:
        put_text(o, b", " if r.fault else b"  ")
        put_uint(o, r.attempts)
        put_text(o, b" tries")


cdef size_t render_pretty(const AccessRecord* r, uint8_t* out, size_t cap, bint color) noexcept nogil:
    cdef Out line = out_of(out, cap)
    cdef Out* o = &line
    cdef size_t _column
    pretty_begin(o, r, color)
    pretty_string(o, r.method if r.method.size else slice_of(<const uint8_t*>b"-", 1))
    for _column in range(r.method.size if r.method.size else 1, 4):
        put_byte(o, c' ')
    put_byte(o, c' ')
    _pretty_status(o, r.status, color)
    put_byte(o, c' ')
    pretty_duration(o, r.t_total_us)
    put_text(o, b"  ")
    _pretty_path(o, r)
    _pretty_outcome(o, r)
    return pretty_end(o, r, out)


# ---------------------------------------------------------------- by format

cdef size_t _render_logfmt(const AccessRecord* record, uint8_t* out, size_t cap) noexcept nogil:
    cdef uint8_t[LOG_LINE_MAX] json
    cdef size_t size = render(LOG_JSON, record, &json[0], LOG_LINE_MAX, False)
    return logfmt_of(&json[0], size, out, cap) if size else 0


cdef size_t render(int format, const AccessRecord* record, uint8_t* out, size_t cap, bint color) noexcept nogil:
    if format == LOG_JSON:
        return render_json(record, out, cap) if record.kind == RECORD_HTTP else flow_json(record, out, cap)
    if format == LOG_COMBINED:
        return render_combined(record, out, cap) if record.kind == RECORD_HTTP else flow_combined(record, out, cap)
    if format == LOG_HAPROXY:
        return render_haproxy(record, out, cap) if record.kind == RECORD_HTTP else flow_haproxy(record, out, cap)
    if format == LOG_LOGFMT:
        return _render_logfmt(record, out, cap)
    INVARIANT(format == LOG_PRETTY)
    return render_pretty(record, out, cap, color) if record.kind == RECORD_HTTP else flow_pretty(record, out, cap, color)


cdef int format_of(str word) except -1:
    formats = {"json": LOG_JSON, "combined": LOG_COMBINED, "pretty": LOG_PRETTY, "haproxy": LOG_HAPROXY, "logfmt": LOG_LOGFMT}
    if word not in formats:
        raise ValueError(f"no access log format {word!r}; there are {', '.join(formats)}")
    return formats[word]


def render_record(str format not None, record, bint color=False, size_t cap=LOG_LINE_MAX):
    """One record as the line that the writer would write, for tests and tools; empty if it does not fit into `cap` bytes."""
    cdef RecordFields fields = RecordFields(record)
    cdef int chosen = format_of(format)
    cdef uint8_t* out = <uint8_t*>malloc(cap if cap else 1)
    cdef size_t size
    if out == NULL:
        raise MemoryError
    try:
        with nogil:
            size = render(chosen, &fields.record, out, cap, color)
        return (<const char*>out)[:size]
    finally:
        free(out)
