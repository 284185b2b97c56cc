"""Bytes in, compressed bytes out, by the libraries. Runs on worker threads; knows no cache.

A body goes through its encoder in pieces, so that the work can be given up between two of them: the daemon stops, or it takes too long. The
libraries release the GIL for each piece.

Levels: the last before the price climbs faster than the gain. `python bench/compression.py` on 80 files of HTML, CSS, JS, JSON and SVG from
2 to 370 KiB (zlib 1.2.13, Brotli 1.2.1, zstd 1.5.7; part that is left, CPU in MiB/s):

    gzip 4  24.6 %   71        br 4  23.4 %   65        zstd 6   22.8 %   99
    gzip 6  23.5 %   43        br 5  21.8 %   41        zstd 9   22.4 %   66
    gzip 9  23.3 %   23        br 7  21.5 %   29        zstd 12  22.1 %   27
                               br 9  21.3 %    4        zstd 19  21.3 %    3
"""
from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from typing import Any, Final, Protocol

import zstandard

from proxyd.compress.eligible import Encoding

# Brotli comes without type information; as a module of attributes it is as typed as it can be.
_brotli: Final[Any] = importlib.import_module("brotli")

GZIP_LEVEL = 6
BROTLI_LEVEL = 5
# A decoder need not take a window over 8 MiB (RFC 9659 §3); at this level zstd uses 4 MiB at most.
ZSTD_LEVEL = 9

PIECE = 128 * 1024          # bytes: 3 ms of Brotli, the slowest
SAMPLE = 16 * 1024          # bytes from the middle, which tell text from what only calls itself text
SAMPLE_FROM = 8 * SAMPLE    # smaller bodies are simply tried
WORTH_PERCENT = 95          # a form that is not smaller than this part of the body is not worth its room


class Encoder(Protocol):
    """A compressor under way: what `compress` gives for each piece, with what `flush` gives at the end, is the whole."""

    def compress(self, piece: bytes | memoryview, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Brotli:
    """Brotli's object with the names that the others use."""

    __slots__ = ("_encoder",)

    def __init__(self, size: int) -> None:
        # As large as the body needs and at most Brotli's own default: memory grows with the window.
        window = min(22, max(10, size.bit_length()))
        self._encoder = _brotli.Compressor(quality=BROTLI_LEVEL, lgwin=window)

    def compress(self, piece: bytes | memoryview, /) -> bytes:
        return bytes(self._encoder.process(piece))

    def flush(self) -> bytes:
        return bytes(self._encoder.finish())


def gzip_encoder(level: int = GZIP_LEVEL) -> Encoder:
    return zlib.compressobj(level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)   # 16: in gzip's format


def encoder_of(encoding: Encoding, size: int) -> Encoder:
    """`size`: bytes of the whole body, exactly."""
    match encoding:
        case "gzip":
            return gzip_encoder()
        case "br":
            return _Brotli(size)
        case "zstd":
            return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj(size=size)


def encode(encoding: Encoding, body: bytes, go_on: Callable[[], bool]) -> bytes | None:
    """The compressed form; None when `go_on()`, asked before each piece, said no."""
    encoder, view, parts = encoder_of(encoding, len(body)), memoryview(body), []
    for at in range(0, len(body), PIECE):
        if not go_on():
            return None
        parts.append(encoder.compress(view[at : at + PIECE]))
    parts.append(encoder.flush())
    return b"".join(parts)


def is_worth(compressed: int, size: int) -> bool:
    """Whether that many bytes in the place of `size` are a gain."""
    return compressed * 100 <= size * WORTH_PERCENT


def looks_compressible(body: bytes) -> bool:
    """A cheap answer before dear ones: whether a sample from the middle shrinks. For bodies of SAMPLE_FROM and more."""
    at = len(body) // 2
    sample = memoryview(body)[at : at + SAMPLE]
    return is_worth(len(zlib.compress(sample, 1)), len(sample))
