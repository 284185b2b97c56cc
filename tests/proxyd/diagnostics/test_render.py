from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from proxyd.diagnostics import Diagnostic, Source, Span, render, render_all, render_json, summary

LINE = "      - {address: 127.0.0.1:9001, wieght: 3}"
SOURCE = Source("proxyd.yaml", "a\nb\nc\nd\n" + LINE + "\n")
ITEM = Diagnostic(
    "PXD-021",
    "unknown option `wieght` in `upstreams.app.servers[0]`",
    Span(SOURCE, 4, 34, 4, 40),
    "did you mean `weight`? allowed: address, backup, weight, zone",
)


def test_the_block_of_the_interface() -> None:
    assert render(ITEM) == (
        "error[PXD-021]: unknown option `wieght` in `upstreams.app.servers[0]`\n"
        " --> proxyd.yaml:5:35\n"
        "  |\n"
        "5 |       - {address: 127.0.0.1:9001, wieght: 3}\n"
        "  |                                   ^^^^^^\n"
        "  = help: did you mean `weight`? allowed: address, backup, weight, zone"
    )


def test_wide_line_numbers_move_everything() -> None:
    source = Source("x", "\n" * 99 + "k: v")
    lines = render(Diagnostic("PXD-030", "no", Span(source, 99, 3, 99, 4), "h")).splitlines()
    assert lines[1:] == ["   --> x:100:4", "    |", "100 | k: v", "    |    ^", "    = help: h"]


def test_without_a_place_there_is_a_sentence_and_help() -> None:
    assert render(Diagnostic("PXD-022", "nothing to listen on", help="add `listen: :8080`")) == (
        "error[PXD-022]: nothing to listen on\n = help: add `listen: :8080`"
    )


def test_carets_stand_below_the_columns_that_are_seen() -> None:
    source = Source("x", "\t漢e\u0301: bad")
    lines = render(Diagnostic("PXD-030", "no", Span(source, 0, 6, 0, 9))).splitlines()
    text, carets = lines[3], lines[4]
    assert text == "1 |     漢e\u0301: bad"
    # tab 4, wide character 2, e with its accent 1, colon, space
    assert carets == "  | " + " " * 9 + "^^^"


def test_a_long_line_is_cut_around_the_caret() -> None:
    source = Source("x", "a" * 500 + "HERE" + "b" * 500)
    lines = render(Diagnostic("PXD-030", "no", Span(source, 0, 500, 0, 504))).splitlines()
    start = lines[4].index("^")
    assert lines[3][start : start + 4] == "HERE"
    assert len(lines[3]) < 180


def test_what_is_hidden_is_shown_as_stars_and_the_carets_follow() -> None:
    line = "k: {a: hunter2, b: x, c: {d: swordfish}}"
    source = Source("x", f"{line}\n  hunter2\n")
    one, two = Span(source, 0, 7, 0, 14), Span(source, 0, 25, 0, 39)

    def shown(span: Span, *hidden: Span) -> list[str]:
        return render(Diagnostic("PXD-030", "no", span, hidden=hidden)).splitlines()[3:]

    assert shown(one, one, two) == ["1 | k: {a: ***, b: x, c: ***}", "  |        ^^^"]
    assert shown(two, two, one) == ["1 | k: {a: ***, b: x, c: ***}", "  |                      ^^^"]
    assert shown(Span(source, 0, 19, 0, 20), one) == ["1 | k: {a: ***, b: x, c: {d: swordfish}}", "  |                ^"]
    assert shown(Span(source, 0, 0, 0, 1), two) == ["1 | k: {a: hunter2, b: x, c: ***}", "  | ^"]
    over_lines = Span(source, 0, 7, 1, 9)
    assert shown(over_lines, over_lines) == ["1 | k: {a: ***", "  |        ^^^"]
    assert shown(Span(source, 1, 2, 1, 9), over_lines) == ["2 |   ***", "  |   ^^^"]


def test_a_span_over_lines_is_marked_to_the_end_of_its_first() -> None:
    source = Source("x", "key: [a,\n  b]")
    assert render(Diagnostic("PXD-030", "no", Span(source, 0, 5, 1, 4))).splitlines()[4] == "  |      ^^^"


def test_colour_only_when_asked_for() -> None:
    assert "\x1b[" not in render(ITEM)
    assert "\x1b[1;31merror[PXD-021]" in render(ITEM, color=True)


def test_all_and_their_count() -> None:
    warning = Diagnostic("PXD-101", "unused", severity="warning")
    assert render_all([ITEM, ITEM, warning]).endswith("\n\n2 errors, 1 warning\n")
    assert render_all([]) == ""
    assert summary([warning]) == "1 warning"
    assert summary([]) == "no errors"


def test_json_is_one_object_a_line() -> None:
    lines = render_json([ITEM, Diagnostic("PXD-001", "no file\nat all")]).splitlines()
    assert [json.loads(line)["code"] for line in lines] == ["PXD-021", "PXD-001"]
    assert json.loads(lines[0])["line"] == 5


@given(st.text(), st.integers(0, 50), st.integers(0, 500), st.integers(0, 50), st.integers(0, 500))
def test_any_span_of_any_text_renders(text: str, line: int, column: int, end_line: int, end_column: int) -> None:
    block = render(Diagnostic("PXD-003", "m", Span(Source("x", text), line, column, end_line, end_column)))
    assert "^" in block.splitlines()[-1]
    assert "\x1b" not in block
