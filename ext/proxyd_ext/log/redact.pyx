# cython: cdivision=True
"""Redaction, on the safe side of every doubt about where a parameter ends.

A name may stand behind `?`, `&`, `;` and `#`, since servers differ in what separates parameters and a client may send what it likes.  The
value of a name that is to be hidden reaches to the next `&`: whoever splits at `;` sees too little, never too much.  Names are compared
as a server would read them (`%74oken` is `token`, `+` a blank), and whatever their case.

An address keeps its network, /24 of IPv4 and /48 of IPv6 (what is commonly taken as anonymous enough to count visitors by), and loses its
port.  One that cannot be read is hidden.
"""
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memset
from proxyd_ext.core.address cimport ADDRESS_V4, Address, address_parse, address_write
from proxyd_ext.core.slice cimport Slice, ascii_lower, slice_of
from proxyd_ext.log.fields cimport RecordFields, record_to_dict
from proxyd_ext.log.record cimport AccessRecord
from proxyd_ext.log.rules cimport LogRules, Rules
from proxyd_ext.log.text cimport Out, out_of, put_bytes


cdef inline Slice _hidden() noexcept nogil:
    return slice_of(<const uint8_t*>b"***", 3)


cdef inline int _hex(uint8_t c) noexcept nogil:
    """Of a hex digit; -1: it is none."""
    if c'0' <= c <= c'9':
        return c - c'0'
    c = ascii_lower(c)
    return c - c'a' + 10 if c'a' <= c <= c'f' else -1


cdef inline uint8_t _next_character(const uint8_t** at, const uint8_t* end) noexcept nogil:
    """One character of a name, decoded and in lower case."""
    cdef const uint8_t* here = at[0]
    cdef uint8_t c = here[0]
    at[0] += 1
    if c == c'+':
        return c' '
    if c == c'%' and end - here > 2 and _hex(here[1]) >= 0 and _hex(here[2]) >= 0:
        at[0] += 2
        c = <uint8_t>(_hex(here[1]) * 16 + _hex(here[2]))
    return ascii_lower(c)


cdef bint _is_named(const uint8_t* at, const uint8_t* end, Slice name) noexcept nogil:
    cdef size_t i = 0
    while at < end:
        if i == name.size or _next_character(&at, end) != name.data[i]:
            return False
        i += 1
    return i == name.size


cdef bint _is_secret(const LogRules* rules, const uint8_t* at, const uint8_t* end) noexcept nogil:
    cdef size_t i
    for i in range(rules.name_count):
        if _is_named(at, end, rules.names[i]):
            return True
    return False


cdef inline bint _separates(uint8_t c) noexcept nogil:
    return c == c'&' or c == c';' or c == c'?' or c == c'#'


cdef size_t redact_parameters(const LogRules* rules, Slice text, bint query, uint8_t* out) noexcept nogil:
    cdef Out o = out_of(out, 2 * text.size)
    cdef const uint8_t* at = text.data
    cdef const uint8_t* end = text.data + text.size
    cdef const uint8_t* kept = at       # what lies behind it is not copied yet
    cdef const uint8_t* name = at if query else NULL
    while at < end:
        if at[0] == c'=' and name != NULL and _is_secret(rules, name, at):
            at += 1
            put_bytes(&o, kept, at - kept)
            kept = <const uint8_t*>memchr(at, c'&', end - at)
            kept = end if kept == NULL else kept
            if kept > at:
                put_bytes(&o, <const uint8_t*>b"***", 3)
            at = kept
            name = NULL
            continue
        if at[0] == c'=':
            name = NULL
        elif _separates(at[0]):
            name = at + 1
        at += 1
    put_bytes(&o, kept, end - kept)
    return o.at - out


cdef size_t _mask_address(Slice text, uint8_t* out) noexcept nogil:
    """The network that the address is in; 0: it is no address."""
    cdef Address address
    cdef int kept
    if not address_parse(text, &address):
        return 0
    kept = 3 if address.family == ADDRESS_V4 else 6
    memset(&address.bytes[kept], 0, 16 - kept)
    return <size_t>address_write(&address, out)


cdef void _hide_client(AccessRecord* r, uint8_t* out) noexcept nogil:
    cdef size_t size
    r.client_port = 0
    if r.client_ip.size:
        size = _mask_address(r.client_ip, out)
        r.client_ip = slice_of(out, size) if size else _hidden()


cdef const AccessRecord* redact(const LogRules* rules, const AccessRecord* record, Redacted* copy) noexcept nogil:
    cdef AccessRecord* r = &copy.record
    if not rules.redacts:
        return record
    r[0] = record[0]
    if rules.client_ip:
        _hide_client(r, copy.client_ip)
    if rules.host and r.host.size:
        r.host = _hidden()
    if rules.user_agent and r.user_agent.size:
        r.user_agent = _hidden()
    if rules.referer and r.referer.size:
        r.referer = _hidden()
    if rules.name_count and r.query.size:
        r.query = slice_of(copy.query, redact_parameters(rules, r.query, True, copy.query))
    if rules.name_count and r.referer.size:
        r.referer = slice_of(copy.referer, redact_parameters(rules, r.referer, False, copy.referer))
    return r


def redacted(Rules rules not None, record):
    """The record as a log of these rules shows it, for tests and tools; its texts no longer than a ring keeps them."""
    cdef RecordFields fields = RecordFields(record)
    cdef Redacted* copy = <Redacted*>malloc(sizeof(Redacted))
    if copy == NULL:
        raise MemoryError
    try:
        return record_to_dict(redact(&rules.rules, &fields.record, copy))
    finally:
        free(copy)
