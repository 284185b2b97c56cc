"""PROXY headers: one verdict however the bytes are cut, slices within the header, and what is written of it is read as the same.

An input is two bytes for the transport and the cuts, then the bytes of a connection, or a datagram.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from proxyd_ext.core.address cimport ADDRESS_V4, ADDRESS_V6, address_equals
from proxyd_ext.core.fault cimport FAULT_PROXY_HEADER
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport Slice, slice_empty
from proxyd_ext.preface.proxy cimport (
    PROXY_DGRAM, PROXY_READ_MAX, PROXY_STREAM, PROXY_UNIQUE_ID_MAX, PROXY_V1_MAX, PROXY_WRITE_MAX, ProxyHeader, proxy_parse, proxy_write,
)
from proxyd_fuzz.support cimport Cuts, draw_cuts, exact_copy, same_slice


cdef void check_inside(const uint8_t* block, const ProxyHeader* header, Slice slice) noexcept nogil:
    if slice.data != NULL:
        INVARIANT(header.version == 2 and slice.data > block and slice.data + slice.size <= block + header.size)


cdef void check_header(const uint8_t* block, size_t size, int rc, int transport, const ProxyHeader* header) noexcept nogil:
    INVARIANT(<size_t>rc <= size and header.size == <unsigned int>rc)
    INVARIANT(rc <= (PROXY_V1_MAX if header.version == 1 else PROXY_READ_MAX))
    INVARIANT(header.version == 2 or (header.version == 1 and transport == PROXY_STREAM))
    INVARIANT(header.transport == transport or header.transport == 0)
    INVARIANT(header.local or header.transport == transport)
    INVARIANT(header.local or header.source.family == ADDRESS_V4 or header.source.family == ADDRESS_V6)
    INVARIANT(header.local or header.destination.family == ADDRESS_V4 or header.destination.family == ADDRESS_V6)
    check_inside(block, header, header.alpn)
    check_inside(block, header, header.authority)
    check_inside(block, header, header.unique_id)
    INVARIANT(header.unique_id.size <= PROXY_UNIQUE_ID_MAX)


cdef void check_same(const ProxyHeader* a, const ProxyHeader* b) noexcept nogil:
    INVARIANT(a.local == b.local and a.version == b.version and a.transport == b.transport)
    INVARIANT(address_equals(&a.source, &b.source) and a.source.port == b.source.port)
    INVARIANT(address_equals(&a.destination, &b.destination) and a.destination.port == b.destination.port)


cdef void check_written(const ProxyHeader* header, int version, int transport, bint crc) noexcept nogil:
    cdef uint8_t* out = <uint8_t*>malloc(PROXY_WRITE_MAX)
    cdef Slice id = header.unique_id if version == 2 else slice_empty()
    cdef size_t size = proxy_write(out, version, transport, &header.source, &header.destination, crc, id)
    cdef uint8_t* exact = exact_copy(out, size)
    cdef ProxyHeader again
    INVARIANT(size <= PROXY_WRITE_MAX and proxy_parse(exact, size, transport, &again) == <int>size)
    check_header(exact, size, <int>size, transport, &again)
    again.version = header.version
    check_same(header, &again)
    INVARIANT(same_slice(again.unique_id, id))
    free(exact)
    free(out)


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef ProxyHeader whole, cut
    cdef uint8_t* block
    cdef uint8_t* piece
    cdef Cuts cuts
    cdef int rc, got = 0, i, transport
    if size < 2:
        return 0
    transport = PROXY_DGRAM if data[0] & 1 else PROXY_STREAM
    draw_cuts(&cuts, data[0] * 256 + data[1], size - 2)
    data += 2
    size -= 2
    block = exact_copy(data, size)
    memset(&whole, 0, sizeof(whole))
    rc = proxy_parse(block, size, transport, &whole)
    INVARIANT(rc >= 0 or rc == -FAULT_PROXY_HEADER)
    INVARIANT(rc != 0 or transport == PROXY_STREAM)
    if rc > 0:
        check_header(block, size, rc, transport, &whole)
        if not whole.local:
            check_written(&whole, 2, transport, data[0] & 1)
            if transport == PROXY_STREAM:
                check_written(&whole, 1, transport, False)
    for i in range(cuts.count):
        piece = exact_copy(data, cuts.at[i])
        got = proxy_parse(piece, cuts.at[i], transport, &cut)
        if got > 0:
            INVARIANT(got == rc)
            check_same(&whole, &cut)
            INVARIANT(same_slice(whole.alpn, cut.alpn) and same_slice(whole.authority, cut.authority))
            INVARIANT(same_slice(whole.unique_id, cut.unique_id))
        free(piece)
        if got or transport == PROXY_DGRAM:
            break
    INVARIANT(got == rc or transport == PROXY_DGRAM)
    free(block)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
