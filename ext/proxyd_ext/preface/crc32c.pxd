"""CRC32c: the Castagnoli polynomial as iSCSI uses it (RFC 3720 §12.1), which guards version 2 of the PROXY header."""
from libc.stdint cimport uint8_t, uint32_t


# The checksum of bytes that come in pieces: `crc` is what the pieces in front gave, 0 in front of the first.
cdef uint32_t crc32c(uint32_t crc, const uint8_t* data, size_t size) noexcept nogil
