from __future__ import annotations

from pathlib import Path

import pytest

from proxyd.config import load, load_text
from proxyd.diagnostics import render_all, render_json
from proxyd.diagnostics.nodes import SecretText

BASE = "listen: :1\nroutes: [{{respond: {{body: {body}}}}}]\n"


def body(text: str, variables: str = "", **env: str) -> str:
    result = load_text(BASE.format(body=text) + variables, env=env)
    assert result.diagnostics == []
    assert result.config is not None
    respond = result.config.routes[0].respond
    assert respond is not None
    return respond.body


def findings(text: str, variables: str = "", **env: str) -> list[tuple[str, int, int]]:
    found = load_text(BASE.format(body=text) + variables, env=env).diagnostics
    return [(item.code, item.span.line + 1, item.span.column + 1) for item in found if item.span]


def test_variables_and_environment() -> None:
    assert body('"a ${x} b ${x}"', "vars: {x: 1.10}") == "a 1.10 b 1.10"
    assert body('"${x}"', 'vars: {x: "<${y}>", y: "${env:HOME}"}', HOME="/root") == "</root>"
    assert body('"${env:NO:-de:fault}"') == "de:fault"
    assert body('"${env:EMPTY:-}"', EMPTY="") == ""
    assert body('"${env:SET:-default}"', SET="x") == "x"
    assert body('"$${x} $x $ {x}"') == "${x} $x $ {x}"


def test_what_is_put_in_is_text_and_not_read_again() -> None:
    assert body('"${env:TRICK}"', TRICK='${x}", to: {a: b}\nlisten: :2') == '${x}", to: {a: b}\nlisten: :2'


def test_numbers_may_come_from_the_environment() -> None:
    result = load_text('listen: ":${env:PORT}"\nto: 127.0.0.1:1\nruntime: {threads: "${env:N}"}\n', env={"PORT": "8080", "N": "4"})
    assert result.config is not None
    assert result.config.listeners["default"].bind[0].port == 8080
    assert result.config.runtime.threads == 4


def test_secrets_are_marked_and_defaults_are_not() -> None:
    assert isinstance(body('"x ${env:TOKEN}"', TOKEN="t"), SecretText)
    assert isinstance(body('"${v}"', 'vars: {v: "${env:TOKEN}"}', TOKEN="t"), SecretText)
    assert not isinstance(body('"${env:TOKEN:-none}"'), SecretText)
    assert not isinstance(body('"${v}"', "vars: {v: t}"), SecretText)


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ('"${nope}"', "vars: {node: x}", [("PXD-007", 2, 28)]),
        ('"a ${nope} ${nine}"', "", [("PXD-007", 2, 30), ("PXD-007", 2, 38)]),
        ('"${env:NOPE}"', "", [("PXD-008", 2, 28)]),
        ('"${env:a b}"', "", [("PXD-007", 2, 28)]),
        ('"${vault:x}"', "", [("PXD-007", 2, 28)]),
        ('"${}"', "", [("PXD-007", 2, 28)]),
        ('"${open"', "", [("PXD-007", 2, 28)]),
        ('"${file:/nowhere/at/all}"', "", [("PXD-009", 2, 28)]),
        ('"${file:}"', "", [("PXD-009", 2, 28)]),
        ('"${a}"', 'vars: {a: "${b}", b: "${a}"}', [("PXD-007", 3, 23)]),
        ('"${a}"', 'vars: {a: "${env:NOPE}"}', [("PXD-008", 3, 12)]),
        ('"${a}"', "vars: {a: [1]}", [("PXD-007", 2, 28), ("PXD-030", 3, 11)]),
    ],
)
def test_mistakes(text: str, variables: str, expected: list[tuple[str, int, int]]) -> None:
    assert findings(text, variables) == expected


@pytest.mark.parametrize("variables", ["a: '${a}'", "a: '${b}', b: 'x${a}'", "b: 'x${a}', a: '${b}'", "a: '${b}', b: '${c}', c: '${b}'"])
def test_a_variable_that_is_made_of_itself(variables: str) -> None:
    text = f"listen: :1\nvars: {{{variables}}}\nroutes: [{{respond: {{body: '${{a}}'}}}}]\n"     # it is met in `vars` before it is used
    assert [item.code for item in load_text(text, env={}).diagnostics] == ["PXD-007"]
    assert {code for code, _, _ in findings('"${a}"', f"vars: {{{variables}}}")} == {"PXD-007"}


def test_a_misspelt_variable_is_suggested() -> None:
    found = load_text(BASE.format(body='"${domian}"') + "vars: {domain: x}", env={}).diagnostics
    assert "did you mean `domain`?" in found[0].help


def test_what_variables_make_is_bounded() -> None:
    doubling = "vars:\n  v0: aaaaaaaa\n" + "".join(f'  v{n}: "${{v{n - 1}}}${{v{n - 1}}}"\n' for n in range(1, 30))
    assert {code for code, _, _ in findings('"${v29}"', doubling)} == {"PXD-004"}
    chained = "vars:\n  v0: a\n" + "".join(f'  v{n}: "${{v{n - 1}}}"\n' for n in reversed(range(1, 2000)))
    assert {code for code, _, _ in findings('"${v1999}"', chained)} == {"PXD-004"}
    many = f"vars:\n  v: {'a' * 1000_000}\n" + "policies:\n" + "".join(f'  p{n}: "${{v}}"\n' for n in range(40))
    assert "PXD-004" in {code for code, _, _ in findings('"${v}"', many)}


def test_files_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "deep").write_text("deeper\r\n")
    (tmp_path / "conf.d" / "more.yaml").write_text("policies: {p: {headers: {request: {set: {X-B: '${file:deep}'}}}}}\n")
    main = tmp_path / "main.yaml"
    main.write_text("include: conf.d/*.yaml\nlisten: :1\nroutes: [{use: [p], respond: {body: '${file:secret}'}}]\n")
    config = load(main, env={}).config
    assert config is not None
    assert config.routes[0].respond is not None
    assert config.routes[0].respond.body == "hunter2"
    headers = config.policies["p"].headers
    assert headers is not None
    assert headers.request.set == {"X-B": "deeper"}


@pytest.mark.parametrize(("content", "reason"), [(b"\xff", "not UTF-8"), (b"x" * 70_000, "larger than 64 KiB")])
def test_files_that_cannot_be_put_in(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    found = load_text(BASE.format(body='"${file:secret}"'), folder=str(tmp_path), env={}).diagnostics
    assert [item.code for item in found] == ["PXD-009"]
    assert reason in found[0].message


@pytest.mark.parametrize(
    "text",
    [
        'listen: "${env:TOKEN}"',
        'listen: "${env:TOKEN}:99999"',
        'listen: ":1"\nruntime: {shutdown: {drain: "${env:TOKEN}"}}',
        'listen: ":1"\nlog: {level: "${env:TOKEN}"}',
        'listen: ":1"\nroutes: [{redirect: "${env:TOKEN}"}]',
        'listen: ":1"\nroutes: [{match: "${env:TOKEN}", respond: 200}]',
        'listen: ":1"\nruntime: {threads: "${env:TOKEN}"}',
        'listen: ":1"\npolicies: {p: {access: {allow: "${env:TOKEN}"}}}',
        'listen: ":1"\nroutes: [{name: "a ${env:TOKEN}", respond: 200}]',
        'listen: ":1"\nrouts: "${env:TOKEN}"',
    ],
)
def test_a_wrong_secret_is_not_shown(text: str) -> None:
    found = load_text(text + "\nto: 127.0.0.1:1\n", env={"TOKEN": "hunter2"}).diagnostics
    assert found
    assert "hunter2" not in render_all(found) + render_json(found)
