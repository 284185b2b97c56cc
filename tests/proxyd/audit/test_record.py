from __future__ import annotations

from typing import Any

import pytest

from proxyd.audit.record import in_words


@pytest.mark.parametrize(("detail", "shown"), [
    ({"changed": True, "entry": 2, "plan": "1 route changed", "last_good": False}, ["entry 2", "1 route changed"]),
    ({"changed": False, "terms": "to be confirmed within 2m"}, ["nothing changed", "to be confirmed within 2m"]),
    ({"text": "app/10.0.0.1:80 drained", "forced": True, "last_good": True}, ["app/10.0.0.1:80 drained", "forced", "last good"]),
    ({"kinds": ["url", "tag"], "objects": 0}, ['kinds ["url", "tag"]', "objects 0"]),
])
def test_what_a_record_says_beside(detail: dict[str, Any], shown: list[str]) -> None:
    assert list(in_words(detail)) == shown
