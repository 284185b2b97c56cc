# cython: cdivision=True
"""Sampling by request id, so that it needs no state and no luck: the id's hash is compared with the share that is kept.

Always taken: what was slow, and what went wrong although its status does not show it (an answer that broke off, a flow that failed); for
4xx and 5xx there are classes.
"""
from libc.stdint cimport uint8_t, uint64_t
from proxyd_ext.core.hash cimport hash_fixed
from proxyd_ext.log.record cimport RECORD_HTTP, AccessRecord
from proxyd_ext.log.rules cimport KEEP_FLOWS, LogRules, Rules
from proxyd_ext.log.fields cimport RecordFields
from proxyd_ext.log.text cimport Out, out_of, put_hex


cdef enum:
    KEY = 0x73616D706C65    # of hash_fixed: any, as long as it stays


cdef uint64_t _position(const AccessRecord* r) noexcept nogil:
    """Where the record stands among all, in 0..2^32 - 1."""
    cdef uint8_t[16] text
    cdef Out o
    if r.request_id.size:
        return hash_fixed(r.request_id.data, r.request_id.size, KEY) >> 32
    o = out_of(&text[0], 16)
    put_hex(&o, r.id, 16)     # as the next proxy reads it
    return hash_fixed(&text[0], 16, KEY) >> 32


cdef bint sample_keeps(const LogRules* rules, const AccessRecord* r) noexcept nogil:
    cdef int kind = KEEP_FLOWS
    if r.kind == RECORD_HTTP:
        if r.t_total_us >= rules.slow_us:
            return True
        kind = min(max(r.status // 100, 1), 5)
    if r.fault and kind < 4:
        return True
    return rules.keep[kind] >> 32 or _position(r) < rules.keep[kind]


def keeps(Rules rules not None, record):
    """Whether a log of these rules takes the record, for tests and tools."""
    cdef RecordFields fields = RecordFields(record)
    return sample_keeps(&rules.rules, &fields.record)
