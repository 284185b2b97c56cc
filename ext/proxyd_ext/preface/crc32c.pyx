"""CRC32c, a byte at a time through one table: what it guards here has some sixty bytes, so wider tables or instructions buy nothing."""


cdef uint32_t[256] _table


cdef void _fill() noexcept:
    """The table of the reflected polynomial: entry i is the remainder of the byte i."""
    cdef uint32_t i, crc
    for i in range(256):
        crc = i
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        _table[i] = crc


_fill()


cdef uint32_t crc32c(uint32_t crc, const uint8_t* data, size_t size) noexcept nogil:
    cdef size_t i
    crc = ~crc
    for i in range(size):
        crc = crc >> 8 ^ _table[(crc ^ data[i]) & 0xFF]
    return ~crc


# ---- for tests and tools

def checksum(*pieces: bytes) -> int:
    """crc32c of the pieces one after the other."""
    cdef uint32_t crc = 0
    cdef bytes piece
    for piece in pieces:
        crc = crc32c(crc, <const uint8_t*><const char*>piece, len(piece))
    return crc
