from __future__ import annotations

import re
from pathlib import Path

from proxyd.config import Config, load_text
from proxyd.config.admin import Admin, AdminClientIp
from proxyd.config.model import Runtime
from proxyd.config.options import options
from proxyd.config.overload import Overload
from proxyd.config.reference import reference
from proxyd.config.upstreams import Upstream
from proxyd.snapshot.rehearsal import rehearse

# of what is excluded by, or doubtful beside, what stands there
ALLOWED = {
    "PXD-006", "PXD-009", "PXD-010", "PXD-024", "PXD-072", "PXD-085", "PXD-101", "PXD-102", "PXD-103", "PXD-106", "PXD-111", "PXD-118",
    "PXD-123",
}
FILE = Path(__file__).parents[3] / "config" / "reference.yaml"


def test_the_file_is_fresh() -> None:
    assert FILE.read_text() == reference(), "run: python -m proxyd.config.reference > config/reference.yaml"


def test_its_tests_pass() -> None:
    result = load_text(reference(), env={})
    assert result.config is not None
    assert rehearse(result.config) == []


def test_every_option_stands_in_it_with_its_documentation() -> None:
    text = " ".join(line.lstrip(" #").rstrip() for line in reference().splitlines())
    keys = set(re.findall(r"^[ #-]*([a-z_0-9]+):", reference(), re.MULTILINE))
    for option in options():
        assert option.path.rpartition(".")[2] in keys, option.path
        assert option.doc in text, option.path
        if option.bounds:
            assert option.bounds in text


def test_it_shows_the_defaults() -> None:
    config = load_text(reference(), env={}).config
    assert config is not None
    assert config.log == Config.model_fields["log"].default
    assert config.admin == Admin(client_ip=AdminClientIp(trust=("10.0.0.0/8",)))
    assert config.runtime == Runtime(overload=Overload())
    assert config.listeners["web"].limits == type(config.listeners["web"].limits)()
    app = config.upstreams["app"]
    for name in ("balance", "pool", "timeout", "retry", "zones", "slow_start"):
        assert getattr(app, name) == Upstream.model_fields[name].default


def test_its_commented_options_are_right_too() -> None:
    """Each commented option, uncommented alone, is one that the model takes (it may exclude what stands beside it)."""
    lines, names = reference().splitlines(), {option.path.rpartition(".")[2] for option in options()}
    tried = 0
    for number, line in enumerate(lines):
        found = re.match(r"( *)# (([a-z_0-9]+): .*)$", line)
        if not found or found[3] not in names or lines[number - 1].strip() == "" or not re.match(r" *#", lines[number - 1]):
            continue
        text = "\n".join([*lines[:number], found[1] + found[2], *lines[number + 1 :]])
        found_wrong = load_text(text, env={}).diagnostics
        codes = {item.code for item in found_wrong if not item.message.startswith("cannot read")}    # files that are not there
        assert codes <= ALLOWED, (line, codes)
        tried += 1
    assert tried > 10
