from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxyd.importing.yaml_text import WIDTH, Noted, Value, to_yaml

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=30)
VALUES: st.SearchStrategy[Value] = st.recursive(
    st.one_of(TEXTS, st.integers(0, 10**6), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS.filter(bool), inner, max_size=4)),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, min_size=1))
def test_what_is_written_is_read(value: dict[str, Value]) -> None:
    assert yaml.safe_load(to_yaml(value).replace("$${", "${")) == value


def test_comments_stand_above() -> None:
    routes: list[Value] = [Noted({"match": "/a/*", "to": "app"}, "nginx.conf:1"), {"to": "app"}]
    text = to_yaml({"routes": routes, "log": Noted({"access": "none"}, "x\ny")})
    assert text == (
        "routes:\n  # nginx.conf:1\n  - {match: /a/*, to: app}\n  - {to: app}\n# x\n# y\nlog:\n  access: none\n"
    )


def test_long_ones_are_blocks() -> None:
    text = to_yaml({"a": {"b": {"c": "x" * WIDTH, "d": ["y" * 60, "z" * 60]}}})
    assert text.splitlines() == ["a:", "  b:", f"    c: {'x' * WIDTH}", "    d:", f"      - {'y' * 60}", f"      - {'z' * 60}"]


def test_variables_of_the_config_are_not_begun_by_accident() -> None:
    assert to_yaml({"a": "${b}"}) == 'a: "$${b}"\n'
