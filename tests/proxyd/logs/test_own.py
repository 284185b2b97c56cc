from __future__ import annotations

import io
import logging
import re

import pytest

from proxyd.logs.own import PlainFormatter


@pytest.mark.parametrize(("clock", "shape"), [(False, r"^warning it happened$"), (True, r"^\d\d:\d\d:\d\d warning it happened$")])
def test_a_line_of_the_own_log(clock: bool, shape: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PlainFormatter(clock=clock))
    handler.handle(logging.LogRecord("proxyd.x", logging.WARNING, __file__, 1, "it %s", ("happened",), None))
    assert stream.getvalue().endswith("\n")
    assert re.search(shape, stream.getvalue().rstrip("\n"))
