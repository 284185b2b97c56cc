from __future__ import annotations

from pathlib import Path

import pytest

from proxyd.config import LoadResult, load


def tree(folder: Path, **files: str) -> LoadResult:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".yaml").write_text(text)
    return load(folder / "main.yaml", env={})


def findings(result: LoadResult) -> list[tuple[str, str, int, int]]:
    return [
        (item.code, Path(item.span.source.name).name, item.span.line + 1, item.span.column + 1) for item in result.diagnostics if item.span
    ]


MAIN = "include: conf.d/*.yaml\nlisten: :1\nvars: {a: x}\nroutes:\n- {match: /b/*, to: b}\n- to: a\nupstreams:\n  a: 127.0.0.1:9\n"


def test_files_are_merged_by_key(tmp_path: Path) -> None:
    result = tree(tmp_path, main=MAIN, conf_d__x="vars: {b: y}\nupstreams: {b: 127.0.0.1:2}\n".replace("conf_d", ""))
    assert [item.code for item in result.diagnostics] == ["PXD-050"]  # conf.d does not exist: the glob finds nothing
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "2.yaml").write_text("upstreams: {b: 127.0.0.1:2}\nlog: {level: debug}\n")
    (tmp_path / "conf.d" / "1.yaml").write_text("vars: {b: y}\n")
    result = load(tmp_path / "main.yaml", env={})
    assert result.diagnostics == []
    assert result.config is not None
    assert set(result.config.upstreams) == {"a", "b"}
    assert result.config.log.level == "debug"
    assert [path.name for path in result.files] == ["main.yaml", "1.yaml", "2.yaml"]


def test_the_same_key_in_two_files_names_both_lines(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "x.yaml").write_text("# one\nupstreams:\n  b: 127.0.0.1:2\n  a: 127.0.0.1:3\nroutes: []\n")
    result = tree(tmp_path, main=MAIN)
    assert findings(result) == [("PXD-023", "x.yaml", 4, 3), ("PXD-023", "x.yaml", 5, 1)]
    assert result.diagnostics[0].help == f"first defined at {tmp_path / 'main.yaml'}:8"


def test_errors_of_all_files_in_one_run(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "1.yaml").write_text("upstreams: {b: {servers: [127.0.0.1:2], blance: p2c}}\n")
    (tmp_path / "conf.d" / "2.yaml").write_text("policies: *\n")
    (tmp_path / "conf.d" / "3.yaml").write_text("- a\n")
    result = tree(tmp_path, main=MAIN + "log: {level: loud}\n")
    assert findings(result) == [
        ("PXD-034", "main.yaml", 9, 14),
        ("PXD-021", "1.yaml", 1, 41),
        ("PXD-003", "2.yaml", 1, 11),
        ("PXD-030", "3.yaml", 1, 1),
    ]


@pytest.mark.parametrize(
    ("include", "code", "column"),
    [
        ("none.yaml", "PXD-006", 10),
        ("conf.d", "PXD-006", 10),
        ("[a.yaml, none.yaml]", "PXD-006", 19),
        ("{a: b}", "PXD-030", 10),
        ("'${nope}'", "PXD-007", 11),
        ("bad.bin", "PXD-002", None),
    ],
)
def test_includes_that_do_not_work(tmp_path: Path, include: str, code: str, column: int | None) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "a.yaml").write_text("log: {level: info}\n")
    (tmp_path / "bad.bin").write_bytes(b"a: 1\nb\xfc: 2\n")
    result = tree(tmp_path, main=f"include: {include}\nlisten: :1\nto: 127.0.0.1:1\n")
    [item] = result.diagnostics
    assert item.code == code
    assert item.span is not None
    assert (item.span.line, item.span.column) == ((0, column - 1) if column else (1, 1))


def test_an_included_file_cannot_include(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "x.yaml").write_text("upstreams: {b: 127.0.0.1:1}\ninclude: y.yaml\n")
    assert findings(tree(tmp_path, main=MAIN)) == [("PXD-006", "x.yaml", 2, 1)]


def test_merging_leaves_aliases_of_the_mapping_alone(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("vars: {c: z}\n")
    result = tree(tmp_path, main="include: more.yaml\nlisten: :1\nvars: &v {a: x}\nroutes: [{respond: {headers: *v}}]\n")
    assert result.config is not None
    assert result.config.routes[0].respond is not None
    assert result.config.routes[0].respond.headers == {"a": "x"}


def test_the_main_file_may_be_missing_or_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path, Path("a\0b")):
        result = load(path, env={})
        assert [item.code for item in result.diagnostics] == ["PXD-001"]
        assert result.config is None


def test_a_byte_order_mark_is_no_character(tmp_path: Path) -> None:
    (tmp_path / "main.yaml").write_bytes(b"\xef\xbb\xbflisten: :1\nto: 127.0.0.1:1\n")
    assert load(tmp_path / "main.yaml", env={}).ok
