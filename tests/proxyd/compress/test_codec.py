from __future__ import annotations

import gzip
import importlib
import random
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from proxyd.compress.codec import PIECE, SAMPLE_FROM, encode, gzip_encoder, is_worth, looks_compressible
from proxyd.compress.eligible import ORDER, Encoding
from tests.support.stored import TEXT

brotli: Any = importlib.import_module("brotli")
DECODE: dict[Encoding, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": lambda form: zstandard.ZstdDecompressor().decompress(form),
}


def always() -> bool:
    return True


@pytest.mark.parametrize("encoding", ORDER)
@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 17])
def test_what_is_compressed_comes_back(encoding: Encoding, size: int) -> None:
    body = (TEXT * (size // len(TEXT) + 1))[:size]
    form = encode(encoding, body, always)
    assert form is not None
    assert DECODE[encoding](form) == body
    if size >= PIECE - 1:
        assert len(form) < size // 4


@given(st.binary(max_size=2000), st.sampled_from(ORDER))
def test_any_bytes_come_back(body: bytes, encoding: Encoding) -> None:
    form = encode(encoding, body, always)
    assert form is not None
    assert DECODE[encoding](form) == body


@pytest.mark.parametrize("encoding", ORDER)
def test_the_work_is_given_up_between_two_pieces(encoding: Encoding) -> None:
    body = TEXT * (4 * PIECE // len(TEXT) + 1)
    asked = count()
    assert encode(encoding, body, lambda: next(asked) < 2) is None
    assert next(asked) == 3    # two pieces, and then no


def test_two_forms_of_the_same_body_are_the_same_bytes() -> None:
    # gzip's header has room for a time; with it, two nodes would serve different bytes under one ETag
    for encoding in ORDER:
        assert encode(encoding, TEXT, always) == encode(encoding, TEXT, always)
    assert (gzip_encoder().compress(b"") + b"\0" * 10)[4:8] == bytes(4)


def test_a_window_of_zstd_is_one_that_every_decoder_takes() -> None:
    body = random.Random(1).randbytes(1 << 16) * 150    # 9.4 MiB
    form = encode("zstd", body, always)
    assert form is not None
    assert zstandard.get_frame_parameters(form).window_size <= 8 << 20


def test_only_what_saves_a_twentieth_is_worth_it() -> None:
    assert is_worth(950, 1000)
    assert not is_worth(951, 1000)
    assert not is_worth(1, 0)


def test_a_sample_tells_text_from_noise() -> None:
    noise = random.Random(2).randbytes(SAMPLE_FROM)
    assert looks_compressible(TEXT * (SAMPLE_FROM // len(TEXT) + 1))
    assert not looks_compressible(noise)
    assert not looks_compressible(TEXT + noise + TEXT)    # the middle counts
