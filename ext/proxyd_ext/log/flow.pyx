# cython: cdivision=True
"""The three forms of the record of a flow.

- `json`: as of an exchange, where it has the same things to say; `kind` sets the two apart, and `end` is the word of core/ending.
- `combined`: there is no request line, so one is made up that its readers can take apart: kind, listener, "flow". The status is 200, or
  that of the fault.
- `pretty`: `ok` or `err` where an exchange has its status.
"""
from libc.stdint cimport uint16_t, uint64_t, uint8_t
from proxyd_ext.core.ending cimport end_word
from proxyd_ext.core.fault cimport fault_info
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.log.forms cimport (
    apache_or_dash, apache_time, end_line, json_begin, json_characters, json_duration, json_end, json_fault, json_number,
    json_seconds, json_text, pretty_begin, pretty_bytes, pretty_duration, pretty_end, pretty_string)
from proxyd_ext.log.record cimport RECORD_TCP, RECORD_TLS, RECORD_UDP, AccessRecord
from proxyd_ext.log.text cimport Out, out_of, put_byte, put_padded, put_text, put_uint


cdef inline const char* _kind(const AccessRecord* r) noexcept nogil:
    if r.kind == RECORD_TCP:
        return b"tcp"
    if r.kind == RECORD_TLS:
        return b"tls"
    INVARIANT(r.kind == RECORD_UDP)
    return b"udp"


cdef inline const char* _method(const AccessRecord* r) noexcept nogil:
    return b"TCP" if r.kind == RECORD_TCP else b"TLS" if r.kind == RECORD_TLS else b"UDP"


cdef inline bint _next_protocol(Slice alpn, size_t* at, Slice* out) noexcept nogil:
    """The next name of a ProtocolNameList (RFC 7301 §3.1); False at its end. The last one may have been cut by the ring."""
    cdef size_t size
    if at[0] + 1 >= alpn.size:
        return False
    size = min(<size_t>alpn.data[at[0]], alpn.size - at[0] - 1)
    out[0] = slice_of(alpn.data + at[0] + 1, size)
    at[0] += 1 + size
    return True


cdef void _json_alpn(Out* o, const AccessRecord* r) noexcept nogil:
    cdef size_t at = 0
    cdef Slice protocol
    cdef bint begun = False
    while _next_protocol(r.tls_alpn, &at, &protocol):
        put_text(o, b"," if begun else b',"tls.alpn":"')
        begun = True
        json_characters(o, protocol)
    if begun:
        put_byte(o, c'"')


cdef size_t flow_json(const AccessRecord* r, uint8_t* out, size_t cap) noexcept nogil:
    cdef Out line = out_of(out, cap)
    cdef Out* o = &line
    json_begin(o, r)
    put_text(o, b',"kind":"')
    put_text(o, _kind(r))
    put_byte(o, c'"')
    json_text(o, b',"listener":', r.listener)
    json_text(o, b',"route":', r.route)
    put_text(o, b',"protocol":"')
    put_text(o, _kind(r))
    put_byte(o, c'"')
    json_text(o, b',"client.address":', r.client_ip)
    if r.client_port:
        json_number(o, b',"client.port":', r.client_port)
    json_number(o, b',"bytes_in":', r.bytes_in)
    json_number(o, b',"bytes_out":', r.bytes_out)
    if r.kind == RECORD_UDP:
        json_number(o, b',"packets_in":', r.packets_in)
        json_number(o, b',"packets_out":', r.packets_out)
    json_duration(o, b',"t_total":', r.t_total_us)
    json_seconds(o, b',"t_connect":', r.t_connect_us)
    json_text(o, b',"upstream":', r.upstream)
    json_text(o, b',"server":', r.server)
    if r.attempts:
        json_number(o, b',"attempts":', r.attempts)
    put_text(o, b',"end":"')
    put_text(o, end_word(r.end))
    put_byte(o, c'"')
    json_fault(o, r)
    json_text(o, b',"tls.server_name":', r.tls_name)
    _json_alpn(o, r)
    return json_end(o, r, out)


cdef size_t flow_combined(const AccessRecord* r, uint8_t* out, size_t cap) noexcept nogil:
    cdef Out line = out_of(out, cap)
    cdef Out* o = &line
    cdef uint16_t status = fault_info(r.fault).status if r.fault else 0
    apache_or_dash(o, r.client_ip)
    put_text(o, b" - -")
    apache_time(o, r)
    put_byte(o, c'"')
    put_text(o, _method(r))
    put_byte(o, c' ')
    apache_or_dash(o, r.listener)
    put_text(o, b' flow" ')
    put_padded(o, status if status else 200, 3)
    put_byte(o, c' ')
    if r.bytes_out:
        put_uint(o, r.bytes_out)
    else:
        put_byte(o, c'-')
    put_text(o, b' "-" "-"')
    return end_line(o, out)


cdef void _pretty_hello(Out* o, const AccessRecord* r) noexcept nogil:
    """`  shop.example.com (h2,http/1.1)`"""
    cdef size_t at = 0
    cdef Slice protocol
    cdef bint begun = False
    if r.tls_name.size or r.tls_alpn.size:
        put_text(o, b"  ")
        pretty_string(o, r.tls_name)
    while _next_protocol(r.tls_alpn, &at, &protocol):
        put_text(o, b"," if begun else b" (" if r.tls_name.size else b"(")
        begun = True
        pretty_string(o, protocol)
    if begun:
        put_byte(o, c')')


cdef inline void _pretty_amount(Out* o, const AccessRecord* r, const char* way, uint64_t count, uint64_t packets) noexcept nogil:
    """`in 1.2 KiB`, and of datagrams `in 1.2 KiB/3`."""
    put_text(o, way)
    pretty_bytes(o, count)
    if r.kind == RECORD_UDP:
        put_byte(o, c'/')
        put_uint(o, packets)


cdef size_t flow_pretty(const AccessRecord* r, uint8_t* out, size_t cap, bint color) noexcept nogil:
    cdef Out line = out_of(out, cap)
    cdef Out* o = &line
    pretty_begin(o, r, color)
    put_text(o, _method(r))
    put_byte(o, c' ')
    if color:
        put_text(o, b"\x1b[31m" if r.fault else b"\x1b[32m")
    put_text(o, b"err" if r.fault else b"ok ")
    if color:
        put_text(o, b"\x1b[0m")
    put_byte(o, c' ')
    pretty_duration(o, r.t_total_us)
    put_text(o, b"  ")
    pretty_string(o, r.listener)
    _pretty_hello(o, r)
    _pretty_amount(o, r, b"  in ", r.bytes_in, r.packets_in)
    _pretty_amount(o, r, b", out ", r.bytes_out, r.packets_out)
    if r.upstream.size:
        put_text(o, b"   ")
        pretty_string(o, r.upstream)
        if r.server.size:
            put_text(o, b"\xe2\x86\x92")    # →
            pretty_string(o, r.server)
    put_text(o, b"   end ")
    put_text(o, end_word(r.end))
    if r.fault:
        put_text(o, b": ")
        put_text(o, fault_info(r.fault).sentence)
    if r.attempts > 1:
        put_text(o, b", ")
        put_uint(o, r.attempts)
        put_text(o, b" tries")
    return pretty_end(o, r, out)
