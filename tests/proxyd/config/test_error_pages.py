from __future__ import annotations

import pytest

from proxyd.config.error_pages import PageFile
from tests.support.config import config_of, first_finding


def test_pages_by_status() -> None:
    config = config_of("""
        listen: ':1'
        defaults: {error_pages: {5xx: {body: sorry}}}
        routes:
          - respond: 200
            error_pages: {404: {body: none here, content_type: text/plain, intercept: true}, "502-504,429": {body: ''}}
    """)
    assert [(str(statuses), page.content) for statuses, page in config.defaults.error_pages.items()] == [("500-599", b"sorry")]
    first, second = config.routes[0].error_pages.items()
    assert (str(first[0]), first[1].content, first[1].content_type, first[1].intercept) == ("404", b"none here", "text/plain", True)
    assert (str(second[0]), second[1].content, second[1].intercept) == ("502-504,429", b"", False)


def test_a_file_that_changed_is_another_page() -> None:
    one, same, other = (PageFile.of("a.html", content) for content in (b"1", b"1", b"2"))
    assert one == same != other
    assert (one.mark == same.mark, one.mark == other.mark) == (True, False)
    assert len({one, same, other}) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{200: {body: a}}", ("PXD-033", 2)),
        ("{oops: {body: a}}", ("PXD-038", 2)),
        ("{404: pages/404.html}", ("PXD-030", 7)),
        ("{404: {}}", ("PXD-022", 7)),
        ('{404: {body: a, content_type: "a\\r\\nb"}}', ("PXD-082", 31)),
        ("{404: {file: [a]}}", ("PXD-030", 14)),
        ("{404: {body: a, text: a}}", ("PXD-021", 17)),
        ("{404: {body: a, intercept: maybe}}", ("PXD-030", 28)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"routes: [{{respond: 200, error_pages:\n{text}}}]\nlisten: :1\n")
    assert found == (expected[0], 2, expected[1])
