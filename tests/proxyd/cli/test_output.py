from __future__ import annotations

import io
import json

import click
import pytest

from proxyd.cli import output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_color_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not output.colored(io.StringIO())
    assert output.colored(Terminal())
    assert "\x1b[31m" in output.paint("x", "error", Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.paint("x", "error", Terminal()) == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not output.colored(Terminal())


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0.0s"), (-1, "0.0s"), (3.21, "3.2s"), (59.4, "59s"), (60, "1m 0s"), (250, "4m 10s"), (18_180, "5h 3m"), (1_051_200, "12d 4h"),
])
def test_durations(seconds: float, text: str) -> None:
    assert output.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (950, "950"), (9_999, "9999"), (12_300, "12.3k"), (4_500_000, "4.5M"), (2e9, "2.0G")]
)
def test_figures(value: float, text: str) -> None:
    assert output.count(value) == text


def test_sizes() -> None:
    sizes = {0: "0", 1023: "1023", 1024: "1.0K", 1536: "1.5K", 5 << 20: "5.0M", 3 << 30: "3.0G", 1 << 40: "1.0T"}
    assert {value: output.size(value) for value in sizes} == sizes


def test_ago() -> None:
    assert output.ago(0) == "never"
    assert output.ago(100.0, now=160.0) == "1m 0s ago"


def test_tables_are_aligned_whatever_the_colors() -> None:
    rows = [["a", "bbbb", "c"], [click.style("aaa", fg="red"), "b", ""], ["x"]]
    assert [click.unstyle(line) for line in output.table(rows)] == ["  a    bbbb  c", "  aaa  b", "  x"]
    assert output.table([]) == []


def test_diagnostics_without_a_rendering_are_still_told() -> None:
    entry = {"severity": "error", "code": "PXD-021", "message": "unknown", "file": "a.yaml", "line": 2, "column": 1, "help": "look"}
    assert output.render_diagnostics([entry]) == "error[PXD-021]: unknown\n --> a.yaml:2:1\n  = help: look"
    assert output.render_diagnostics([{"rendered": "as\nthe daemon says"}]) == "as\nthe daemon says"


def test_json_of_others_texts_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/\x9b31m/\u202e/\x1b[2J/\ud800/\u00e4\u2192"
    output.print_json({"path": path})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"path": path}
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert "\u00e4\u2192" in shown
