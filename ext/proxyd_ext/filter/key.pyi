from collections.abc import Sequence

from proxyd_ext.snapshot.spec import LimitKeyPart

PART_KINDS: dict[str, int]

def hash_key(parts: Sequence[LimitKeyPart], texts: Sequence[str], salt: int = 0) -> int:
    """The hash under which limits know a key: one text a part; those of client.ip are IP literals. ValueError where one is none.
    0: every part is empty, and such requests are not counted."""
