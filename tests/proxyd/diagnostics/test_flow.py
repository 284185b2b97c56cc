from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.diagnostics.compose import compose
from proxyd.diagnostics.diagnostic import Source
from proxyd.diagnostics.flow import flow
from proxyd.diagnostics.marked import mark


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, True, "x"]}, "{a: [1, true, x]}"),
        (":8080", '":8080"'),
        ("*.example.com", '"*.example.com"'),
        ("hello\n", '"hello\\n"'),
        ("127.0.0.1:9001", "127.0.0.1:9001"),
        ("true", '"true"'),
        ("{host}", '"{host}"'),
    ],
)
def test_quotes_only_where_they_are_needed(value: object, text: str) -> None:
    assert flow(value) == text


leaves = st.booleans() | st.integers(-999, 999) | st.text(max_size=12)
samples = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab-:", max_size=4), inner, max_size=3), max_leaves=8
)


@given(samples)
def test_it_is_yaml_for_the_same_value(value: object) -> None:
    root, found = compose(Source("x", f"sample: {flow(value)}"))
    assert found == []
    assert root is not None
    assert mark(root, []) == {"sample": value}
