from __future__ import annotations

from proxyd.diagnostics.diagnostic import Diagnostic, Source, Span, by_position


def at(source: Source, line: int, column: int, code: str = "PXD-021") -> Diagnostic:
    return Diagnostic(code, f"{line}:{column}", Span(source, line, column, line, column + 1))


def test_order_is_by_file_then_line_then_column() -> None:
    first, second = Source("b.yaml", ""), Source("a.yaml", "")
    nowhere = Diagnostic("PXD-001", "no file")
    items = [at(second, 0, 0), at(first, 10, 2), at(first, 10, 0), at(first, 2, 5), nowhere]
    ordered = by_position(items, [first, second])
    assert ordered == [nowhere, at(first, 2, 5), at(first, 10, 0), at(first, 10, 2), at(second, 0, 0)]


def test_the_same_finding_is_told_once() -> None:
    source = Source("a.yaml", "")
    assert len(by_position([at(source, 1, 1), at(source, 1, 1), at(source, 1, 1, "PXD-022")])) == 2


def test_lines_are_those_of_yaml() -> None:
    assert Source("a", "x: 1\r\ny: \x0c2\rz: 3\u2028u\n").lines == ["x: 1", "y: \x0c2", "z: 3", "u", ""]


def test_facts_count_from_one_and_leave_out_what_is_unknown() -> None:
    source = Source("a.yaml", "x: 1")
    item = Diagnostic("PXD-021", "unknown", Span(source, 0, 3, 0, 4), "remove it", path="x")
    assert item.as_dict() == {
        "severity": "error",
        "code": "PXD-021",
        "message": "unknown",
        "file": "a.yaml",
        "line": 1,
        "column": 4,
        "end_line": 1,
        "end_column": 5,
        "path": "x",
        "help": "remove it",
    }
    assert Diagnostic("PXD-001", "no file", severity="warning").as_dict() == {
        "severity": "warning",
        "code": "PXD-001",
        "message": "no file",
    }
