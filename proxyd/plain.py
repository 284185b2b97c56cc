"""Text of others on a terminal or in a log: it must neither steer the one nor begin lines in the other."""
from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    """What is not plainly shown is written as `\\x1b`, byte by byte of its UTF-8."""
    return "".join(char if _is_plain(char) else _bytes(char) for char in text)


def _bytes(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))


def _is_plain(char: str) -> bool:
    return char.isprintable() if char.isascii() else unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
