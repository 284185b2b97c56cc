"""The chunked transfer coding (RFC 9112 §7.1): a decoder that works in place on whatever bytes have come, and the writing of chunks."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef enum:
    CHUNK_MORE = 0              # all bytes were consumed; more must come
    CHUNK_DONE = 1              # the last chunk and the trailer section have been read
    CHUNK_TRAILERS = 2          # a trailer field begins and `trailers` is NULL: give a buffer and call again with what is left

    CHUNK_HEAD_MAX = 18         # bytes that chunk_write_head writes at most
    CHUNK_EXTENSION_MAX = 256   # bytes of extensions and leading zeros of one chunk-size line; more is malformed
    CHUNK_EXTENSIONS_TOTAL = 16384  # the same over a whole body, so that endless tiny chunks with extensions end


ctypedef struct ChunkDecoder:
    uint64_t left               # data bytes left in the current chunk
    uint32_t line               # bytes of the current size line after the digits
    uint32_t overhead           # bytes of extensions of the whole body
    uint8_t state               # CS_* of chunk.pyx
    uint8_t digits              # hex digits seen in the current size line
    uint8_t* trailers           # where trailer lines go, CRLF included, without the closing empty line; NULL: none given yet
    uint32_t trailers_cap
    uint32_t trailers_size


cdef void chunk_start(ChunkDecoder* decoder) noexcept nogil

# Decode data[0:size]: chunk data is moved together to the front of `data`, *data_size says how much that is, *consumed how many input bytes
# were used.
# Returns CHUNK_* or -FAULT_CHUNK_MALFORMED (also when trailers do not fit, or hold a bad field).
# Bytes behind the body stay untouched at data[*consumed:].
cdef int chunk_decode(ChunkDecoder* decoder, uint8_t* data, size_t size, size_t* data_size, size_t* consumed) noexcept nogil

# Write "<hex>CRLF" for a chunk of `size` bytes (> 0) to out; returns the bytes written (<= CHUNK_HEAD_MAX).
cdef int chunk_write_head(uint64_t size, uint8_t* out) noexcept nogil

# Copy the collected trailer lines to out, leaving out fields that may not stand in a trailer (RFC 9110 §6.5.1: framing, routing,
# authentication,
# hop-by-hop, Content-*, Set-Cookie, Cache-Control ...).  Returns the bytes written (<= size).
cdef int chunk_write_trailers(const uint8_t* lines, size_t size, uint8_t* out) noexcept nogil
