"""What config/ has for systemd, Debian and Docker, as far as it can be held against itself without running any of them."""
from __future__ import annotations

import re
from configparser import RawConfigParser
from pathlib import Path

import pytest

from proxyd.cli.entry import VERBS
from proxyd.cli.errors import Exit
from proxyd.config import load_text

CONFIG = Path(__file__).resolve().parents[2] / "config"


class Unit(RawConfigParser):
    def __init__(self, name: str) -> None:
        super().__init__(strict=False)
        self.read(CONFIG / "systemd" / name)

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def test_the_unit_speaks_our_protocol() -> None:
    service = Unit("proxyd.service")["Service"]
    assert (service["Type"], service["NotifyAccess"], service["Restart"], service["RestartSec"]) == ("notify", "all", "on-failure", "100ms")
    assert int(service["FileDescriptorStoreMax"]) >= 64 * 10      # ten addresses of as many engines as there can be
    assert service["WatchdogSec"] == "10"
    not_again = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert not_again == {Exit.USAGE, Exit.CONFIG_INVALID}, "what another start would not mend"
    for line in (service["ExecStart"], service["ExecReload"]):
        program, verb = line.split()[:2]
        assert (program, verb in VERBS) == ("/usr/bin/proxyd", True)


@pytest.mark.parametrize("file", ["debian/proxyd.yaml", "docker/proxyd.yaml"])
def test_configs_that_come_along_are_valid(file: str) -> None:
    result = load_text((CONFIG / file).read_text())
    assert result.config is not None
    assert result.diagnostics == []


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", (CONFIG / "docker" / "Dockerfile").read_text())
    found = [line.partition(" ")[::2] for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, rest in found]


def test_the_image() -> None:
    """Of two stages; in the last one nobody is root, and the program that is asked is there."""
    words = [word for word, _ in instructions()]
    assert set(words) <= {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    stages = [index for index, word in enumerate(words) if word == "FROM"]
    assert len(stages) == 2
    last = dict(instructions()[stages[1]:])
    assert not last["USER"].startswith(("root", "0"))
    assert '"proxyd", "healthcheck"' in last["HEALTHCHECK"]
    assert last["CMD"].startswith('["run", "--supervise"')


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    root = CONFIG.parent
    kept = {line[1:] for line in (CONFIG / "docker" / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    for word, rest in instructions():
        if word == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (root / source).exists(), source
                assert source in kept, source


def test_maintainer_scripts_stop_at_errors() -> None:
    for script in ("postinst", "prerm", "postrm"):
        text = (CONFIG / "debian" / script).read_text()
        assert text.startswith("#!/bin/sh\nset -e\n"), script
