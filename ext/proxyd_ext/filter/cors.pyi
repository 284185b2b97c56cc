"""What Python sees of cross-origin rules; `ask` is for tests and tools."""
from proxyd_ext.snapshot.spec import CorsFilter

class Cors:
    """A compiled CorsFilter. ValueError where its texts are longer than the bounds in cors.pxd, or one is not ASCII."""

    def __init__(self, spec: CorsFilter) -> None: ...

def ask(cors: Cors, head: bytes) -> tuple[int, bytes]:
    """cors_ask of a request head: (0 none | 1 lines | 2 preflight, field lines); ValueError where the head is refused."""

def dropped() -> tuple[str, ...]:
    """The fields of a server's answer that the policy replaces."""
