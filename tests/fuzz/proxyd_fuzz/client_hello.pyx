"""ClientHellos: one verdict however packets are cut and records are, `need` is true, and what is told lies in the message.

An input is two bytes for the cuts, then the bytes of a connection.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from proxyd_ext.core.fault cimport FAULT_HELLO
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.preface.hello cimport HELLO_MAX, ClientHello, hello_offers, hello_parse
from proxyd_fuzz.support cimport Cuts, draw_cuts, exact_copy, same_slice

cdef enum:
    RECORD_FRONT = 5


cdef void check_hello(const uint8_t* scratch, const ClientHello* hello) noexcept nogil:
    cdef size_t i
    cdef uint8_t c
    INVARIANT(hello.alert == 0 and (hello.version == 0 or hello.version >> 8 == 3))
    if hello.name.data != NULL:
        INVARIANT(hello.name.data > scratch and hello.name.data + hello.name.size <= scratch + HELLO_MAX)
        INVARIANT(0 < hello.name.size <= 255 and hello.name.data[hello.name.size - 1] != c'.')
        for i in range(hello.name.size):
            c = hello.name.data[i]
            INVARIANT(c'a' <= c <= c'z' or c'0' <= c <= c'9' or c == c'-' or c == c'_' or (c == c'.' and i and hello.name.data[i - 1] != c))
    if hello.alpn.data != NULL:
        INVARIANT(hello.alpn.data > scratch and hello.alpn.data + hello.alpn.size <= scratch + HELLO_MAX and hello.alpn.size >= 2)
        i = 0
        while i < hello.alpn.size:
            INVARIANT(hello.alpn.data[i] > 0 and i + hello.alpn.data[i] < hello.alpn.size)
            INVARIANT(hello_offers(hello.alpn, slice_of(hello.alpn.data + i + 1, hello.alpn.data[i])))
            i += 1 + hello.alpn.data[i]
        INVARIANT(not hello_offers(hello.alpn, slice_of(hello.alpn.data, 0)))


cdef void check_same(const ClientHello* a, const ClientHello* b) noexcept nogil:
    INVARIANT(a.version == b.version and a.ech == b.ech and a.alert == b.alert)
    INVARIANT(same_slice(a.name, b.name) and same_slice(a.alpn, b.alpn))


cdef void check_cut(const uint8_t* data, const Cuts* cuts, int rc, const ClientHello* whole, uint8_t* scratch) noexcept nogil:
    """The bytes in packets end in the same verdict, and change nothing before as many as were needed."""
    cdef uint8_t* piece
    cdef ClientHello cut
    cdef size_t need = 0, again = 0
    cdef int got = 0, i
    for i in range(cuts.count):
        piece = exact_copy(data, cuts.at[i])
        got = hello_parse(piece, cuts.at[i], scratch, &again, &cut)
        if cuts.at[i] < need:
            INVARIANT(got == 0 and again == need)
        if got == 0:
            INVARIANT(again > cuts.at[i])
            need = again
        else:
            check_same(whole, &cut)
        free(piece)
        if got:
            break
    INVARIANT(got == rc)


cdef void check_resplit(const uint8_t* data, size_t seed, const ClientHello* whole, uint8_t* scratch) noexcept nogil:
    """The message in other records is the same message."""
    cdef uint8_t* text = <uint8_t*>malloc(HELLO_MAX)
    cdef uint8_t* out
    cdef uint8_t* exact
    cdef ClientHello again
    cdef Cuts cuts
    cdef Slice part
    cdef size_t size = 0, total = 4, at = 0, start = 0, need
    cdef int i
    while size < total:
        part = slice_of(data + RECORD_FRONT, data[3] << 8 | data[4])
        memcpy(text + size, part.data, part.size)
        size += part.size
        if size >= 4:
            total = 4 + (text[1] << 16 | text[2] << 8 | text[3])
        data += RECORD_FRONT + part.size
    draw_cuts(&cuts, seed, total)
    out = <uint8_t*>malloc(total + cuts.count * RECORD_FRONT)
    for i in range(cuts.count):
        if cuts.at[i] == start:           # a record is never empty
            continue
        part = slice_of(text + start, cuts.at[i] - start)
        out[at], out[at + 1], out[at + 2], out[at + 3], out[at + 4] = 22, 3, 1, <uint8_t>(part.size >> 8), <uint8_t>part.size
        memcpy(out + at + RECORD_FRONT, part.data, part.size)
        at += RECORD_FRONT + part.size
        start = cuts.at[i]
    exact = exact_copy(out, at)
    INVARIANT(hello_parse(exact, at, scratch, &need, &again) == 1 and need == at)
    check_same(whole, &again)
    free(exact)
    free(out)
    free(text)


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef ClientHello whole
    cdef uint8_t* block
    cdef uint8_t* scratch
    cdef uint8_t* other
    cdef size_t need = 0, seed
    cdef Cuts cuts
    cdef int rc
    if size < 2:
        return 0
    seed = data[0] * 256 + data[1]
    data += 2
    size -= 2
    block = exact_copy(data, size)
    scratch = <uint8_t*>malloc(HELLO_MAX)
    other = <uint8_t*>malloc(HELLO_MAX)
    memset(&whole, 0, sizeof(whole))
    rc = hello_parse(block, size, scratch, &need, &whole)
    INVARIANT(rc == 1 or rc == 0 or rc == -FAULT_HELLO)
    INVARIANT((rc < 0) == (whole.alert != 0) and (rc != 0) == (need <= size))
    draw_cuts(&cuts, seed, size)
    check_cut(data, &cuts, rc, &whole, other)
    if rc == 1:
        check_hello(scratch, &whole)
        check_resplit(block, seed, &whole, other)
    free(other)
    free(scratch)
    free(block)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
