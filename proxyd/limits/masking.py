"""Keys of limits as people are shown them. What a key holds of a credential (a cookie, a field or a parameter that is named like one) is
no more than a mark: the same for the same text until the daemon ends, and of no use to whoever reads it."""
from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence

_SECRET = secrets.token_bytes(16)      # without it a short text could be guessed from its mark
_CREDENTIAL = re.compile(r"(header|query):.*(auth|cookie|key|token|secret|session|passw|signature|jwt)", re.IGNORECASE)


def is_credential(part: str) -> bool:
    """Of a part of a key, as configs write it: `header:X-API-Key`."""
    return part.startswith("cookie:") or _CREDENTIAL.match(part) is not None


def mark(text: str) -> str:
    return f"***{hashlib.blake2b(text.encode('utf-8', 'surrogateescape'), key=_SECRET, digest_size=4).hexdigest()}"


def shown_key(parts: Sequence[str], text: str) -> str:
    """`text`: the values of the parts with | between, as engines note them. From the first credential on nothing is shown: a value may hold
    a |, too, so that nobody can tell where it ends."""
    first = next((number for number, part in enumerate(parts) if is_credential(part)), None)
    if first is None:
        return text
    *before, rest = text.split("|", first)
    return "|".join((*before, mark(rest))) if rest else text


def shown_texts(parts: Sequence[str], texts: Sequence[str]) -> tuple[str, ...]:
    """The same of values that stand apart."""
    return tuple(mark(text) if is_credential(part) else text for part, text in zip(parts, texts, strict=False))
