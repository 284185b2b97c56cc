from __future__ import annotations

import pytest

from proxyd.config import load_text

BASE = "listen: :80\nroutes: [{name: shop, to: app, use: [per-ip]}]\nupstreams: {app: {servers: [10.0.0.1:80]}}\n"


@pytest.mark.parametrize(
    ("expected", "path", "near"),
    [
        ("route: shp", "tests[0].route", "did you mean `shop`? "),
        ("upstream: [app, ap]", "tests[0].upstream[1]", "did you mean `app`? "),
        ("upstream: nothing", "tests[0].upstream[0]", ""),
        ("policies: [per-ib]", "tests[0].policies[0]", "did you mean `per-ip`? "),
        ("limit: per_ip2", "tests[0].limit[0]", "did you mean `per-ip`? "),
        ("refused: office", "tests[0].refused", ""),
        ("route: shop, listener: defualt", "tests[0].listener", "did you mean `default`? "),
    ],
)
def test_names_that_are_not_there(expected: str, path: str, near: str) -> None:
    item, = load_text(f"{BASE}tests: [{{request: /x, {expected}}}]\n", env={}).diagnostics
    assert (item.code, item.path) == ("PXD-054", path)
    assert item.help.startswith(near + "there are: ")


def test_names_that_are_there_or_stand_for_nothing() -> None:
    text = "{request: /x, route: none, refused: none}, {request: /x, listener: default, upstream: app, limit: per-ip, refused: default}"
    assert load_text(f"{BASE}tests: [{text}]\n", env={}).diagnostics == []


def test_of_a_broken_file_nothing_is_held_against_its_tests() -> None:
    items = load_text(f"{BASE}tests: [{{request: /x, route: spare}}]\nroots: 1\n", env={}).diagnostics
    assert [item.code for item in items] == ["PXD-021"]
