"""What Python sees of Vary: entry points for tests and tools. Heads are whole; ValueError where one is refused."""

def read_vary(answer: bytes, cap: int = 512) -> bytes | int:
    """vary_names of an answer, into a block of `cap` bytes: the names, or VARY_STAR (-1), VARY_TOO_MUCH (-2)."""

def variant_text(names: bytes, request: bytes, cap: int = 4096) -> bytes | int:
    """vary_text of a request, into a block of `cap` bytes: the text, or VARY_TOO_MUCH (-2)."""

def read_encodings(request: bytes) -> bytes | None:
    """What a request accepts, as write_encodings writes it; None: no Accept-Encoding."""

def read_content_encoding(answer: bytes) -> int:
    """ENCODING_* bit of an answer; 0 none, -1 another."""
