from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from proxyd.admin.problem import KINDS
from proxyd.cli.errors import Exit
from proxyd.cli.verbs.explain import facts_of_code, written
from proxyd.codes import CODES as DAEMON_CODES
from proxyd.config.codes import CODES
from proxyd.config.options import options

Run = Callable[..., Result]
PACKAGE = Path(__file__).parents[3] / "proxyd"


@pytest.mark.parametrize("code", sorted({*CODES, *DAEMON_CODES, *KINDS}))
def test_every_code_is_explained(code: str, run: Run) -> None:
    result = run("explain", code)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{code}: ")
    assert len(result.stdout.split()) > 8


def test_every_code_that_the_program_has_is_explained() -> None:
    """In whatever file it stands, as a finding's code or in a sentence."""
    codes = {code for path in PACKAGE.rglob("*.py") for code in re.findall(r"PXD-[0-9]{3}", path.read_text())}
    assert codes == {*CODES, *DAEMON_CODES, *KINDS}
    for code in codes:
        assert facts_of_code(code)["code"] == code


def test_no_code_is_used_for_two_things() -> None:
    assert not DAEMON_CODES.keys() & KINDS.keys()
    for code in CODES.keys() & (DAEMON_CODES.keys() | KINDS.keys()):
        assert code in {"PXD-070", "PXD-071", "PXD-090"}, "told by the config when it can see it, else by the part that meets it"


@pytest.mark.parametrize("code", ["021", "21", "pxd-021", "PXD-21"])
def test_spellings_of_a_code(code: str, run: Run) -> None:
    assert run("explain", code).stdout.startswith("PXD-021: ")


def test_an_option_by_its_path(run: Run) -> None:
    text = run("explain", "upstreams.api.health.active.interval").stdout
    assert text.startswith("upstreams.NAME.health.active[].interval\n")
    assert "type    duration" in text
    assert "default 5s" in text


def test_every_option_is_explained(run: Run) -> None:
    for option in options():
        text = run("explain", option.path).stdout
        assert option.doc.split()[0] in text
        assert all(len(line) <= 100 for line in text.splitlines())


def test_an_option_by_its_last_word_in_json(run: Run) -> None:
    found = json.loads(run("explain", "header_timeout", "--json").stdout)
    assert {entry["path"] for entry in found} == {"listeners.NAME.limits.header_timeout"}


@pytest.mark.parametrize(
    ("subject", "words"), [("wieght", "weight"), ("PXD-999", "no code PXD-999"), ("no.such.thing", "there is no option")]
)
def test_what_there_is_not(subject: str, words: str, run: Run) -> None:
    result = run("explain", subject)
    assert result.exit_code == Exit.NOT_FOUND
    assert words in result.stderr


def test_defaults_are_written_as_in_a_config() -> None:
    assert written({"a": [True, "x", 3], "b": {"c": None}}) == "{a: [true, x, 3], b: {c: }}"
