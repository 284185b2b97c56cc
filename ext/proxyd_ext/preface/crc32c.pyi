"""What Python sees of the checksum: an entry point for tests and tools."""

def checksum(*pieces: bytes) -> int:
    """CRC32c (RFC 3720 §12.1) of the pieces one after the other."""
