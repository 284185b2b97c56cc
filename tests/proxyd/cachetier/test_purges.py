from __future__ import annotations

import pytest

from proxyd.cachetier.purges import PurgeIndex, path_of
from proxyd.cachetier.tier import PurgeKind

URL = "https://shop.example:8443/a/b?c=d"


@pytest.mark.parametrize(("kind", "text", "matches"), [
    ("all", "", True),
    ("url", URL, True), ("url", "https://shop.example:8443/a/b", True), ("url", "http://other/a/b?x", True),
    ("url", "https://shop.example:8443/a/b/c", False), ("url", "https://shop.example:8443/a", False),
    ("prefix", "https://shop.example:8443/a/", True), ("prefix", URL, True), ("prefix", URL + "e", False), ("prefix", "https://x/", False),
    ("host", "shop.example:8443", True), ("host", "shop.example", False),
    ("tag", "t", True), ("tag", "v", False),
])
def test_what_matches(kind: PurgeKind, text: str, matches: bool) -> None:
    index = PurgeIndex()
    index.add(5, kind, text)
    assert index.latest(URL, ["t", "u"]) == (5 if matches else 0)


def test_the_last_one_counts_in_whatever_order_they_come() -> None:
    index = PurgeIndex()
    for serial, tag in ((7, "t"), (3, "t"), (5, "u")):
        index.add(serial, "tag", tag)
    assert index.latest("", ["t", "u"]) == 7
    assert len(index) == 2


def test_it_forgets_the_oldest_and_remembers_that_it_did() -> None:
    index = PurgeIndex(most=10)
    for serial in range(1, 12):
        index.add(serial, "prefix", "http://a/" + "x" * serial)
    assert len(index) == 6
    assert index.floor == 5
    assert index.latest("http://b/", []) == 5, "what is older than the floor may have been purged"
    assert index.latest("http://a/" + "x" * 20, []) == 11


def test_paths() -> None:
    assert path_of("http://a/b/c?d?e/f") == "b/c"
    assert path_of("http://a") == path_of("http://a/") == ""
    assert path_of("aside:user:1?x") == "aside:user:1?x"
