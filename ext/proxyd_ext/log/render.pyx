# cython: cdivision=True
"""The three forms of an access record.

Everything that a client sent is hostile: no byte of it may end a line, close a quote or reach a terminal as a control.  So each form
has one escaper, and whatever is not a fixed word or a number goes through it.

- `json`: one object a line; strings are valid UTF-8 whatever came in (an ill-formed part becomes one U+FFFD); controls, among them DEL and
  the C1 range, are `\\u00xx`.  What does not apply is left out, so that `has("error")` is a question that can be asked.
- `combined`: Apache's combined log format, with Apache's escapes (`ap_escape_logitem`: C escapes, else `\\xhh`, for all that is not
  printable ASCII, for the quote and for the backslash), so that goaccess, awstats and their like read it.  Time is UTC.  What the record
  makes different: the path is in normal form, and the size counts the head, too (Apache's %O).
- `pretty`: for a person at a terminal: local time, a line that fits, words in place of numbers.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from proxyd_ext.core.fault cimport FaultInfo, fault_info
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.log.fields cimport RecordFields
from proxyd_ext.log.record cimport CACHE_NONE, STATUS_BY_CACHE, STATUS_BY_PROXYD, STATUS_BY_UPSTREAM, T_NONE, AccessRecord
from proxyd_ext.log.text cimport (
    Moment, Out, moment_of, out_of, put_byte, put_bytes, put_hex, put_padded, put_text, put_uint, utf8_step)
from proxyd_ext.log.words cimport cache_word


cdef extern from "<time.h>" nogil:
    ctypedef long time_t
    struct tm:
        int tm_hour
        int tm_min
        int tm_sec
    tm* localtime_r(const time_t* seconds, tm* out)


cdef inline size_t _end_line(Out* o, const uint8_t* begin) noexcept nogil:
    put_byte(o, c'\n')
    return 0 if o.full else o.at - begin


cdef inline void _put_clock(Out* o, int hour, int minute, int second) noexcept nogil:
    put_padded(o, hour, 2)
    put_byte(o, c':')
    put_padded(o, minute, 2)
    put_byte(o, c':')
    put_padded(o, second, 2)


cdef inline const char* _status_by(const AccessRecord* r) noexcept nogil:
    if r.status_by == STATUS_BY_UPSTREAM:
        return b"upstream"
    if r.status_by == STATUS_BY_CACHE:
        return b"cache"
    INVARIANT(r.status_by == STATUS_BY_PROXYD)
    return b"proxyd"


# ---------------------------------------------------------------- json

cdef inline bint _plain_word(uint64_t w) noexcept nogil:
    """Whether eight bytes hold only 0x20..0x7E without quote and backslash, so that JSON takes them as they are.

    A byte x is zero if (x - 1) & ~x has its high bit; one with its high bit set is refused first, so no borrow can hide a hit.
    """
    cdef uint64_t ones = <uint64_t>0x0101010101010101, highs = <uint64_t>0x8080808080808080
    cdef uint64_t quote = w ^ (ones * c'"'), backslash = w ^ (ones * c'\\'), rubout = w ^ (ones * 0x7F)
    return not ((w | (w - ones * 0x20) | (quote - ones) | (backslash - ones) | (rubout - ones)) & highs)


cdef void _json_escape(Out* o, const uint8_t* data, size_t size, bint valid) noexcept nogil:
    """One character that JSON or a terminal would not take as it is."""
    if not valid:
        put_text(o, b"\\ufffd")
    elif data[0] == c'"' or data[0] == c'\\':
        put_byte(o, c'\\')
        put_byte(o, data[0])
    elif data[0] == c'\n':
        put_text(o, b"\\n")
    elif data[0] == c'\r':
        put_text(o, b"\\r")
    elif data[0] == c'\t':
        put_text(o, b"\\t")
    else:
        put_text(o, b"\\u00")
        put_hex(o, data[size - 1], 2)    # of a C1 control the second byte is the code point


cdef void _json_string(Out* o, Slice s) noexcept nogil:
    cdef size_t i = 0, kept = 0, step
    cdef uint64_t word
    cdef uint8_t c
    cdef bint valid
    put_byte(o, c'"')
    while i < s.size:
        if s.size - i >= 8:
            memcpy(&word, s.data + i, 8)
            if _plain_word(word):
                i += 8
                continue
        c = s.data[i]
        if 0x20 <= c < 0x7F and c != c'"' and c != c'\\':
            i += 1
            continue
        step = utf8_step(s.data + i, s.size - i, &valid)
        if valid and step > 1 and not (step == 2 and c == 0xC2 and s.data[i + 1] < 0xA0):
            i += step
            continue
        put_bytes(o, s.data + kept, i - kept)
        _json_escape(o, s.data + i, step, valid)
        i += step
        kept = i
    put_bytes(o, s.data + kept, i - kept)
    put_byte(o, c'"')


cdef inline void _json_text(Out* o, const char* name, Slice s) noexcept nogil:
    """`,"name":"text"`, unless there is none.  name: with its punctuation, as `,"name":`."""
    if s.size:
        put_text(o, name)
        _json_string(o, s)


cdef inline void _json_number(Out* o, const char* name, uint64_t value) noexcept nogil:
    put_text(o, name)
    put_uint(o, value)


cdef inline void _json_seconds(Out* o, const char* name, uint32_t us) noexcept nogil:
    if us != T_NONE:
        put_text(o, name)
        put_uint(o, us // 1_000_000)
        put_byte(o, c'.')
        put_padded(o, us % 1_000_000, 6)


cdef inline void _json_fault(Out* o, const AccessRecord* r) noexcept nogil:
    cdef const FaultInfo* fault
    if r.fault:
        fault = fault_info(r.fault)
        put_text(o, b',"error":"')
        put_text(o, fault.proxy_error)
        put_text(o, b'","why":"')
        put_text(o, fault.sentence)
        put_byte(o, c'"')


cdef inline void _json_cache(Out* o, const AccessRecord* r) noexcept nogil:
    if r.cache != CACHE_NONE:
        put_text(o, b',"cache":"')
        put_text(o, cache_word(r.cache))
        put_byte(o, c'"')
        if r.cache_age != T_NONE:
            _json_number(o, b',"cache_age":', r.cache_age)


cdef size_t render_json(const AccessRecord* r, uint8_t* out, size_t cap) noexcept nogil:
    cdef Out line = out_of(out, cap)
    cdef Out* o = &line
    cdef Moment m = moment_of(r.time_us)
    put_text(o, b'{"time":"')
    put_padded(o, m.year, 4)
    put_byte(o, c'-')
    put_padded(o, m.month, 2)
    put_byte(o, c'-')
    put_padded(o, m.mday, 2)
    put_byte(o, c'T')
    _put_clock(o, m.hour, m.minute, m.second)
    put_byte(o, c'.')
    put_padded(o, m.us, 6)
    if r.request_id.size:
        put_text(o, b'Z","id":')
        _json_string(o, r.request_id)
    else:
        put_text(o, b'Z","id":"')
        put_hex(o, r.id, 16)
        put_byte(o, c'"')
    _json_text(o, b',"trace_id":', r.trace_id)
    _json_text(o, b',"listener":', r.listener)
    _json_text(o, b',"route":', r.route)
    _json_text(o, b',"client.address":', r.client_ip)
    if r.client_port:
        _json_number(o, b',"client.port":', r.client_port)
    _json_text(o, b',"method":', r.method)
    put_text(o, b',"scheme":"https"' if r.tls else b',"scheme":"http"')
    _json_text(o, b',"host":', r.host)
    _json_text(o, b',"path":', r.path)
    if r.query.data != NULL:
        put_text(o, b',"query":')
        _json_string(o, r.query)
    _json_number(o, b',"protocol":"HTTP/1.', r.minor)
    put_byte(o, c'"')
    _json_number(o, b',"status":', r.status)
    put_text(o, b',"status_by":"')
    put_text(o, _status_by(r))
    _json_number(o, b'","bytes_in":', r.bytes_in)
    _json_number(o, b',"bytes_out":', r.bytes_out)
    _json_seconds(o, b',"t_total":', r.t_total_us)
    _json_seconds(o, b',"t_queue":', r.t_queue_us)
    _json_seconds(o, b',"t_connect":', r.t_connect_us)
    _json_seconds(o, b',"t_first_byte":', r.t_first_byte_us)
    _json_text(o, b',"upstream":', r.upstream)
    _json_text(o, b',"server":', r.server)
    if r.attempts:
        _json_number(o, b',"attempts":', r.attempts)
    _json_cache(o, r)
    _json_text(o, b',"policies":', r.policies)
    _json_text(o, b',"user":', r.user)
    _json_fault(o, r)
    _json_text(o, b',"user_agent":', r.user_agent)
    _json_text(o, b',"referer":', r.referer)
    _json_number(o, b',"engine":', r.engine)
    put_text(o, b',"config":"')
    put_hex(o, r.config, 12)
    put_text(o, b'"}')
    return _end_line(o, out)


# ---------------------------------------------------------------- combined

cdef void _apache_string(Out* o, Slice s) noexcept nogil:
    """As `ap_escape_logitem` writes it."""
    cdef size_t i
    cdef uint8_t c
    for i in range(s.size):
        c = s.data[i]
        if c == c'"' or c == c'\\':
            put_byte(o, c'\\')
            put_byte(o, c)
        elif 0x20 <= c < 0x7F:
            put_byte(o, c)
        elif 0x08 <= c <= 0x0D and c != 0x0C:
            put_byte(o, c'\\')
            put_byte(o, (<const char*>b"btnv_r")[c - 0x08])
        else:
            put_text(o, b"\\x")
            put_hex(o, c, 2)


cdef inline void _apache_or_dash(Out* o, Slice s) noexcept nogil:
    if s.size:
        _apache_string(o, s)
    else:
        put_byte(o, c'-')


cdef void _apache_user(Out* o, Slice s) noexcept nogil:
    """Readers end this field at a blank, and names of users may have some."""
    cdef size_t i, begin = 0
    for i in range(s.size):
        if s.data[i] == c' ':
            _apache_string(o, slice_of(s.data + begin, i - begin))
            put_text(o, b"\\x20")
            begin = i + 1
    if begin:
        _apache_string(o, slice_of(s.data + begin, s.size - begin))
    else:
        _apache_or_dash(o, s)


cdef size_t render_combined(const AccessRecord* r, uint8_t* out, size_t cap) noexcept nogil:
    cdef Out line = out_of(out, cap)
    cdef Out* o = &line
    cdef Moment m = moment_of(r.time_us)
    _apache_or_dash(o, r.client_ip)
    put_text(o, b" - ")
    _apache_user(o, r.user)
    put_text(o, b" [")
    put_padded(o, m.mday, 2)
    put_byte(o, c'/')
    put_bytes(o, <const uint8_t*>b"JanFebMarAprMayJunJulAugSepOctNovDec" + 3 * (m.month - 1), 3)
    put_byte(o, c'/')
    put_padded(o, m.year, 4)
    put_byte(o, c':')
    _put_clock(o, m.hour, m.minute, m.second)
    put_text(o, b' +0000] "')
    if r.method.size:
        _apache_string(o, r.method)
        put_byte(o, c' ')
        _apache_or_dash(o, r.path)
        if r.query.data != NULL:
            put_byte(o, c'?')
            _apache_string(o, r.query)
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
    _apache_or_dash(o, r.referer)
    put_text(o, b'" "')
    _apache_or_dash(o, r.user_agent)
    put_byte(o, c'"')
    return _end_line(o, out)


# ---------------------------------------------------------------- pretty

cdef inline bint _steers_text(const uint8_t* data, size_t size) noexcept nogil:
    """Whether a well-formed character moves what a terminal shows elsewhere: C1 controls, line separators, bidirectional marks."""
    if size == 2:
        return data[0] == 0xC2 and data[1] < 0xA0
    if size == 3 and data[0] == 0xE2:
        return (data[1] == 0x80 and (data[2] == 0x8E or data[2] == 0x8F or 0xA8 <= data[2] <= 0xAE)) or \
            (data[1] == 0x81 and 0xA6 <= data[2] <= 0xA9)
    return False


cdef void _pretty_string(Out* o, Slice s) noexcept nogil:
    cdef size_t i = 0, step, k
    cdef bint valid
    while i < s.size:
        step = utf8_step(s.data + i, s.size - i, &valid)
        if valid and (0x20 <= s.data[i] < 0x7F or (step > 1 and not _steers_text(s.data + i, step))):
            put_bytes(o, s.data + i, step)
        else:
            for k in range(step):
                put_text(o, b"\\x")
                put_hex(o, s.data[i + k], 2)
        i += step


cdef void _pretty_duration(Out* o, uint32_t us) noexcept nogil:
    """In five columns, as exact as they allow: `850us`, `4.2ms`, ` 42ms`, ` 1.0s`, `12.3s`, ` 123s`."""
    cdef uint64_t tenths
    cdef uint8_t[24] text
    cdef Out t = out_of(&text[0], 24)
    cdef size_t size
    if us == T_NONE:
        put_byte(&t, c'-')
    elif us < 1_000:
        put_uint(&t, us)
        put_text(&t, b"us")
    elif us < 999_500:
        tenths = (us + 50) // 100
        if tenths < 100:
            put_uint(&t, tenths // 10)
            put_byte(&t, c'.')
            put_uint(&t, tenths % 10)
        else:
            put_uint(&t, (us + 500) // 1_000)
        put_text(&t, b"ms")
    else:
        tenths = (<uint64_t>us + 50_000) // 100_000
        if tenths < 1_000:
            put_uint(&t, tenths // 10)
            put_byte(&t, c'.')
            put_uint(&t, tenths % 10)
        else:
            put_uint(&t, (<uint64_t>us + 500_000) // 1_000_000)
        put_byte(&t, c's')
    size = t.at - &text[0]
    while size < 5:
        put_byte(o, c' ')
        size += 1
    put_bytes(o, &text[0], t.at - &text[0])


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
    _pretty_string(o, r.host)
    _pretty_string(o, r.path)
    if r.query.data != NULL:
        put_byte(o, c'?')
        _pretty_string(o, r.query)


cdef inline void _pretty_gap(Out* o, bint begun) noexcept nogil:
    put_text(o, b"  " if begun else b"   ")


cdef void _pretty_outcome(Out* o, const AccessRecord* r) noexcept nogil:
    """Who answered, what the cache had to do with it, and what went wrong."""
    cdef bint begun = r.upstream.size != 0
    if r.upstream.size:
        put_text(o, b"   ")
        _pretty_string(o, r.upstream)
        if r.server.size:
            put_text(o, b"\xe2\x86\x92")    # →
            _pretty_string(o, r.server)
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
    cdef time_t seconds = <time_t>(r.time_us // 1_000_000)
    cdef Moment m
    cdef tm local
    cdef size_t _column
    if localtime_r(&seconds, &local) == NULL:    # a year that does not fit an int
        m = moment_of(r.time_us)
        local.tm_hour = m.hour
        local.tm_min = m.minute
        local.tm_sec = m.second
    if color:
        put_text(o, b"\x1b[2m")
    _put_clock(o, local.tm_hour, local.tm_min, local.tm_sec)
    if color:
        put_text(o, b"\x1b[0m")
    put_byte(o, c' ')
    _pretty_string(o, r.method if r.method.size else slice_of(<const uint8_t*>b"-", 1))
    for _column in range(r.method.size if r.method.size else 1, 4):
        put_byte(o, c' ')
    put_byte(o, c' ')
    _pretty_status(o, r.status, color)
    put_byte(o, c' ')
    _pretty_duration(o, r.t_total_us)
    put_text(o, b"  ")
    _pretty_path(o, r)
    _pretty_outcome(o, r)
    put_text(o, b"   id ")
    if r.request_id.size:
        _pretty_string(o, r.request_id)
    else:
        put_hex(o, r.id, 16)
    return _end_line(o, out)


# ---------------------------------------------------------------- by format

cdef size_t render(int format, const AccessRecord* record, uint8_t* out, size_t cap, bint color) noexcept nogil:
    if format == LOG_JSON:
        return render_json(record, out, cap)
    if format == LOG_COMBINED:
        return render_combined(record, out, cap)
    INVARIANT(format == LOG_PRETTY)
    return render_pretty(record, out, cap, color)


cdef int format_of(str word) except -1:
    formats = {"json": LOG_JSON, "combined": LOG_COMBINED, "pretty": LOG_PRETTY}
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
