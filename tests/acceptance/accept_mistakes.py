"""Acceptance 1, second half: typical mistakes in the two configs that one begins with, each mended by what the message
says and by nothing else.

The one who mends knows YAML and can read: takes the finding's place, and writes there what stands in backquotes behind "did you mean" or
"write" in its help. No knowledge of proxyd is in it, so a message that lacks what is needed fails.
"""
from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "config" / "examples"
ROUNDS = 3      # of check and repair


def configs() -> list[str]:
    return [(EXAMPLES / name).read_text() for name in ("two-lines.yaml", "ten-lines.yaml")]


def check(path: Path) -> list[dict[str, object]]:
    """What `proxyd check` finds, as a user's editor would get it."""
    done = subprocess.run(
        [sys.executable, "-m", "proxyd", "check", "--format", "json", "-c", str(path)], capture_output=True, text=True, check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == (3 if any(entry["severity"] == "error" for entry in found) else 0)
    return found


def mend(text: str, finding: dict[str, object]) -> str:
    """Put what is meant where the finding points."""
    line, column, end = (int(str(finding[name])) for name in ("line", "column", "end_column"))
    lines = text.splitlines()
    old = lines[line - 1]
    quoted = re.match(r'put it in quotes: "([^"]+)"', str(finding.get("help", "")))
    if quoted is not None:      # the whole value, which begins at the place or before it
        start = old.rfind(quoted[1], 0, column - 1 + len(quoted[1]))
        assert start >= 0, finding
        lines[line - 1] = f'{old[:start]}"{quoted[1]}"{old[start + len(quoted[1]):]}'
    else:
        meant = re.search(r"(?:did you mean|write) `([^`]+)`", f"{finding.get('help', '')} {finding['message']}")
        assert meant is not None, f"the message names no way out: {finding}"
        lines[line - 1] = f"{old[:column - 1]}{meant[1]}{old[end - 1:]}"
    return "\n".join(lines) + "\n"


MISTAKES = {      # what is mistaken: how it is written there, and how somebody wrote it
    "an option is misspelt": (1, "balance: least_conn", "balanse: least_conn"),
    "a word of another proxy": (1, "least_conn", "leastconn"),
    "a value that means something in YAML": (1, "match: /static/*", "match: *.example.com/*"),
    "a port without its colon": (0, "listen: :8080", "listen: 8080"),
    "an upstream that does not exist": (1, "\n  - to: app", "\n  - to: ap"),
    "a number without a unit": (1, "cache: 10m", "cache: 600"),
    "a URL where an address belongs": (0, "127.0.0.1:9002]", '"http://127.0.0.1:9002"]'),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_mended_from_its_message(mistake: str, tmp_path: Path) -> None:
    number, right, wrong = MISTAKES[mistake]
    text = configs()[number]
    path = tmp_path / "proxyd.yaml"
    path.write_text(text)
    assert check(path) == [], "the README's own config is right"
    assert right in text
    text = text.replace(right, wrong, 1)
    for _ in range(ROUNDS):
        path.write_text(text)
        errors = [entry for entry in check(path) if entry["severity"] == "error"]
        if not errors:
            return
        text = mend(text, errors[0])
    pytest.fail(f"not mended:\n{text}{errors}")
