"""The chunked coding: a body decodes to the same whatever pieces it comes in, bytes behind it stay, and re-coded it decodes to itself."""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.http1.chunk cimport (
    CHUNK_DONE, CHUNK_HEAD_MAX, CHUNK_MORE, CHUNK_TRAILERS, ChunkDecoder, chunk_decode, chunk_start, chunk_write_head, chunk_write_trailers,
)
from proxyd_fuzz.support cimport Cuts, draw_cuts, exact_copy


ctypedef struct Result:
    int rc             # the last result
    uint8_t* data      # the body
    size_t data_size
    uint8_t* trailers
    size_t trailers_size
    size_t consumed    # bytes of the input up to the body's end


cdef void decode(const uint8_t* input, size_t size, Cuts* cuts, size_t trailers_cap, bint early, Result* out) noexcept nogil:
    cdef ChunkDecoder decoder
    cdef size_t start = 0, at, got, used
    cdef uint8_t* block
    cdef int i
    out.rc, out.data_size, out.consumed = CHUNK_MORE, 0, 0
    out.data = <uint8_t*>malloc(size)
    out.trailers = <uint8_t*>malloc(trailers_cap)
    chunk_start(&decoder)
    decoder.trailers_cap = <unsigned int>trailers_cap
    if early:
        decoder.trailers = out.trailers
    for i in range(cuts.count):
        block = exact_copy(input + start, cuts.at[i] - start)
        at = 0
        while True:
            got = used = 0
            out.rc = chunk_decode(&decoder, block + at, cuts.at[i] - start - at, &got, &used)
            if out.rc < 0:
                break
            INVARIANT(got <= used and used <= cuts.at[i] - start - at)
            memcpy(out.data + out.data_size, block + at, got)
            out.data_size += got
            out.consumed += used
            at += used
            if out.rc != CHUNK_TRAILERS:
                break
            INVARIANT(decoder.trailers == NULL)
            decoder.trailers = out.trailers
        INVARIANT(out.rc != CHUNK_MORE or at == cuts.at[i] - start)
        if out.rc == CHUNK_DONE:   # what stands behind the body is untouched
            INVARIANT(memcmp(block + at, input + start + at, cuts.at[i] - start - at) == 0)
        free(block)
        start = cuts.at[i]
        if out.rc != CHUNK_MORE:
            break
    INVARIANT(decoder.trailers_size <= trailers_cap)
    out.trailers_size = decoder.trailers_size


cdef void forget(Result* result) noexcept nogil:
    free(result.data)
    free(result.trailers)


cdef void check_recoded(const Result* decoded) noexcept nogil:
    """The body as one chunk, with the trailers that may be passed on, is the same body."""
    cdef size_t size, room = decoded.data_size + decoded.trailers_size + 2 * CHUNK_HEAD_MAX + 8
    cdef uint8_t* text = <uint8_t*>malloc(room)
    cdef uint8_t* kept = <uint8_t*>malloc(decoded.trailers_size)
    cdef int kept_size = chunk_write_trailers(decoded.trailers, decoded.trailers_size, kept)
    cdef Cuts whole
    cdef Result again
    INVARIANT(0 <= kept_size <= <int>decoded.trailers_size)
    size = 0
    if decoded.data_size:
        size = chunk_write_head(decoded.data_size, text)
        INVARIANT(size <= CHUNK_HEAD_MAX)
        memcpy(text + size, decoded.data, decoded.data_size)
        size += decoded.data_size
        memcpy(text + size, <const char*>b"\r\n", 2)
        size += 2
    memcpy(text + size, <const char*>b"0\r\n", 3)
    memcpy(text + size + 3, kept, kept_size)
    memcpy(text + size + 3 + kept_size, <const char*>b"\r\n", 2)
    size += 5 + kept_size
    whole.at[0], whole.count = size, 1
    decode(text, size, &whole, kept_size, False, &again)
    INVARIANT(again.rc == CHUNK_DONE and again.consumed == size)
    INVARIANT(again.data_size == decoded.data_size and memcmp(again.data, decoded.data, again.data_size) == 0)
    INVARIANT(again.trailers_size == <size_t>kept_size and memcmp(again.trailers, kept, kept_size) == 0)
    forget(&again)
    free(kept)
    free(text)


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef Cuts whole, cut
    cdef Result one, other
    cdef size_t trailers_cap
    if size < 2:
        return 0
    trailers_cap = 4096 if data[0] & 3 else data[0]
    draw_cuts(&cut, data[0] * 256 + data[1], size - 2)
    whole.at[0], whole.count = size - 2, 1
    decode(data + 2, size - 2, &whole, trailers_cap, False, &one)
    decode(data + 2, size - 2, &cut, trailers_cap, data[0] & 4, &other)
    INVARIANT(one.rc == other.rc)
    if one.rc >= 0:
        INVARIANT(one.consumed == other.consumed and one.data_size == other.data_size and one.trailers_size == other.trailers_size)
        INVARIANT(memcmp(one.data, other.data, one.data_size) == 0)
        INVARIANT(memcmp(one.trailers, other.trailers, one.trailers_size) == 0)
    if one.rc == CHUNK_DONE:
        check_recoded(&one)
    forget(&one)
    forget(&other)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
