"""What the lines of all kinds of records share: one escaper for each form, times, how a line begins and ends.

Everything that a client sent is hostile: no byte of it may end a line, close a quote or reach a terminal as a control.  Whatever is not a
fixed word or a number goes through `json_string`, `apache_string` or `pretty_string`.

- json: strings are valid UTF-8 whatever came in (an ill-formed part becomes one U+FFFD); controls, among them DEL and the C1 range, are
  `\\u00xx`.
- combined: Apache's escapes (`ap_escape_logitem`: C escapes, else `\\xhh`, for all that is not printable ASCII, for the quote and for the
  backslash).
- pretty: what is no ink, or steers a terminal, is `\\xhh`.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy
from proxyd_ext.core.fault cimport FaultInfo, fault_info
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.log.record cimport T_NONE, AccessRecord
from proxyd_ext.log.text cimport (
    Moment, Out, local_moment_of, moment_of, out_of, put_byte, put_bytes, put_clock, put_day_and_clock, put_hex, put_padded, put_rfc3339,
    put_text, put_uint, utf8_step)


cdef inline size_t end_line(Out* o, const uint8_t* begin) noexcept nogil:
    put_byte(o, c'\n')
    return 0 if o.full else o.at - begin


cdef inline bint _plain_word(uint64_t w) noexcept nogil:
    """Whether eight bytes hold only 0x20..0x7E without quote and backslash, so that JSON takes them as they are.

    A byte x is zero if (x - 1) & ~x has its high bit; one with its high bit set is refused first, so no borrow can hide a hit.
    """
    cdef uint64_t ones = <uint64_t>0x0101010101010101, highs = <uint64_t>0x8080808080808080
    cdef uint64_t quote = w ^ (ones * c'"'), backslash = w ^ (ones * c'\\'), rubout = w ^ (ones * 0x7F)
    return not ((w | (w - ones * 0x20) | (quote - ones) | (backslash - ones) | (rubout - ones)) & highs)


cdef inline void _json_escape(Out* o, const uint8_t* data, size_t size, bint valid) noexcept nogil:
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


cdef inline void json_characters(Out* o, Slice s) noexcept nogil:
    cdef size_t i = 0, kept = 0, step
    cdef uint64_t word
    cdef uint8_t c
    cdef bint valid
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


cdef inline void json_string(Out* o, Slice s) noexcept nogil:
    put_byte(o, c'"')
    json_characters(o, s)
    put_byte(o, c'"')


cdef inline void json_text(Out* o, const char* name, Slice s) noexcept nogil:
    """`,"name":"text"`, unless there is none.  name: with its punctuation, as `,"name":`."""
    if s.size:
        put_text(o, name)
        json_string(o, s)


cdef inline void json_number(Out* o, const char* name, uint64_t value) noexcept nogil:
    put_text(o, name)
    put_uint(o, value)


cdef inline void json_duration(Out* o, const char* name, uint64_t us) noexcept nogil:
    put_text(o, name)
    put_uint(o, us // 1_000_000)
    put_byte(o, c'.')
    put_padded(o, us % 1_000_000, 6)


cdef inline void json_seconds(Out* o, const char* name, uint32_t us) noexcept nogil:
    if us != T_NONE:
        json_duration(o, name, us)


cdef inline void json_fault(Out* o, const AccessRecord* r) noexcept nogil:
    cdef const FaultInfo* fault
    if r.fault:
        fault = fault_info(r.fault)
        put_text(o, b',"error":"')
        put_text(o, fault.proxy_error)
        put_text(o, b'","why":"')
        put_text(o, fault.sentence)
        put_byte(o, c'"')


cdef inline void json_begin(Out* o, const AccessRecord* r) noexcept nogil:
    cdef Moment m = moment_of(r.time_us)
    put_text(o, b'{"time":"')
    put_rfc3339(o, &m)
    if r.request_id.size:
        put_text(o, b'","id":')
        json_string(o, r.request_id)
    else:
        put_text(o, b'","id":"')
        put_hex(o, r.id, 16)
        put_byte(o, c'"')


cdef inline size_t json_end(Out* o, const AccessRecord* r, const uint8_t* begin) noexcept nogil:
    json_number(o, b',"engine":', r.engine)
    put_text(o, b',"config":"')
    put_hex(o, r.config, 12)
    put_text(o, b'"}')
    return end_line(o, begin)


cdef inline void apache_string(Out* o, Slice s) noexcept nogil:
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


cdef inline void apache_or_dash(Out* o, Slice s) noexcept nogil:
    if s.size:
        apache_string(o, s)
    else:
        put_byte(o, c'-')


cdef inline void apache_time(Out* o, const AccessRecord* r) noexcept nogil:
    cdef Moment m = moment_of(r.time_us)
    put_text(o, b" [")
    put_day_and_clock(o, &m)
    put_text(o, b" +0000] ")


cdef inline bint _steers_text(const uint8_t* data, size_t size) noexcept nogil:
    """Whether a well-formed character moves what a terminal shows elsewhere: C1 controls, line separators, bidirectional marks."""
    if size == 2:
        return data[0] == 0xC2 and data[1] < 0xA0
    if size == 3 and data[0] == 0xE2:
        return (data[1] == 0x80 and (data[2] == 0x8E or data[2] == 0x8F or 0xA8 <= data[2] <= 0xAE)) or \
            (data[1] == 0x81 and 0xA6 <= data[2] <= 0xA9)
    return False


cdef inline void pretty_string(Out* o, Slice s) noexcept nogil:
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


cdef inline void _put_tenths(Out* o, uint64_t value, uint64_t unit, uint64_t most) noexcept nogil:
    """`value` in units, rounded: with one decimal below `most` tenths."""
    cdef uint64_t tenths = value // unit * 10 + (value % unit * 10 + unit // 2) // unit
    if tenths < most:
        put_uint(o, tenths // 10)
        put_byte(o, c'.')
        put_uint(o, tenths % 10)
    else:
        put_uint(o, value // unit + (value % unit >= unit // 2))


cdef inline void pretty_duration(Out* o, uint64_t us) noexcept nogil:
    """In five columns, as exact as they allow: `850us`, `4.2ms`, ` 42ms`, ` 1.0s`, `12.3s`, ` 123s`, ` 2.8h`, ` 123h`."""
    cdef uint8_t[24] text
    cdef Out t = out_of(&text[0], 24)
    cdef size_t size
    if us < 1_000:
        put_uint(&t, us)
        put_text(&t, b"us")
    elif us < 999_500:
        _put_tenths(&t, us, 1_000, 100)
        put_text(&t, b"ms")
    elif us < <uint64_t>9_999_500_000:
        _put_tenths(&t, us, 1_000_000, 1_000)
        put_byte(&t, c's')
    else:
        _put_tenths(&t, us, <uint64_t>3_600_000_000, 1_000)
        put_byte(&t, c'h')
    size = t.at - &text[0]
    while size < 5:
        put_byte(o, c' ')
        size += 1
    put_bytes(o, &text[0], t.at - &text[0])


cdef inline void pretty_bytes(Out* o, uint64_t count) noexcept nogil:
    """`812 B`, `1.2 KiB`, `34.0 MiB`, `123 GiB`."""
    cdef uint64_t unit = 1024
    cdef int step = 0
    if count < 1_000:
        put_uint(o, count)
        put_text(o, b" B")
        return
    while step < 4 and count // unit >= 1_000:
        unit *= 1024
        step += 1
    _put_tenths(o, count, unit, 1_000)
    put_byte(o, c' ')
    put_byte(o, (<const char*>b"KMGTP")[step])
    put_text(o, b"iB")


cdef inline void pretty_begin(Out* o, const AccessRecord* r, bint color) noexcept nogil:
    """The clock of this machine's place."""
    cdef Moment m = local_moment_of(r.time_us)
    if color:
        put_text(o, b"\x1b[2m")
    put_clock(o, &m)
    if color:
        put_text(o, b"\x1b[0m")
    put_byte(o, c' ')


cdef inline size_t pretty_end(Out* o, const AccessRecord* r, const uint8_t* begin) noexcept nogil:
    put_text(o, b"   id ")
    if r.request_id.size:
        pretty_string(o, r.request_id)
    else:
        put_hex(o, r.id, 16)
    return end_line(o, begin)
