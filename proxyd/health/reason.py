"""Failures of checks in words that people use."""
from __future__ import annotations

import errno
import os
import socket
import ssl


def plain_reason(error: BaseException) -> str:
    """A failure in words that people use: "connection refused", not a class name and a tuple."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return f"name not found: {error.strerror}"
    if isinstance(error, OSError) and error.errno:
        # uvloop's errors carry the number, asyncio's text repeats the address: the number tells it best.
        return os.strerror(error.errno).lower() if error.errno in errno.errorcode else str(error)
    return str(error) or type(error).__name__


def excerpt(data: bytes | bytearray, limit: int = 40) -> str:
    """Bytes that a server sent, fit for a line of the log: `"-ERR busy\\r\\n"`, cut after `limit` characters."""
    text = data.decode("latin-1").encode("unicode_escape").decode()
    return f'"{text}"' if len(text) <= limit else f'"{text[:limit]}…"'
