"""Configs as transactions, under load: what is refused, gone back from by itself, confirmed, survived, and recorded."""
from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.stage import OriginProcess, Proxyd, Wrk, ending, exchange, free_port, until

WINDOW_S = 20


class Stage:
    """A proxy over an origin that is fine and one that answers 500, under wrk. Its state is kept beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, bad_port = folder, free_port(), free_port()
        self.good = OriginProcess(folder, "app")
        (folder / "bad").mkdir()
        self.bad = Proxyd(folder / "bad", f"listen: '127.0.0.1:{bad_port}'\nroutes: [{{respond: 500}}]\nlog: {{access: none}}\n")
        self.bad_address = f"127.0.0.1:{bad_port}"
        self.proxyd = Proxyd(folder, self.config("one"))
        self.wrk = Wrk(folder, f"http://127.0.0.1:{self.port}/", connections=16)

    def config(self, word: str, *, broken: bool = False) -> str:
        """`broken`: one request of ten goes to the server that answers 500, and nothing takes it out."""
        bad = f", {{address: '{self.bad_address}'}}" if broken else ""
        return (
            f"log: {{access: none}}\nlisteners: {{web: {{bind: '127.0.0.1:{self.port}', limits: {{per_client: 20000}}}}}}\n"
            f"upstreams:\n  app: {{servers: [{{address: '{self.good.address}', weight: 9}}{bad}], health: {{passive: none}}}}\n"
            f"routes: [{{name: word, match: /word, respond: {{body: '{word}.'}}}}, {{name: app, to: app}}]\n"
        )

    def reload(self, config: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.proxyd.config.write_text(config)
        return self.proxyd.run("reload", *arguments)

    def serves(self) -> str:
        answer = exchange(self.port, b"GET /word HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return answer.rpartition(b"\r\n\r\n")[2].decode().removesuffix(".")

    def history(self) -> list[dict[str, Any]]:
        done = self.proxyd.run("history", "--json", "--all")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def requests(self) -> float:
        return self.proxyd.total("proxyd_http_requests_total", 'route="app"')


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setenv("PROXYD_STATE", str(tmp_path / "state"))
    found = Stage(tmp_path)
    with ending(found.wrk, found.proxyd, found.bad, found.good):
        until(lambda: found.requests() > 1_000, "there is load")
        yield found


def test_the_story_of_a_day(stage: Stage) -> None:
    # Unchanged: nothing happens.
    unchanged = stage.proxyd.run("reload", "--guard", "errors > 2%")
    assert (unchanged.returncode, unchanged.stdout[:15]) == (0, "nothing changed"), unchanged
    assert len(stage.history()) == 1
    assert stage.proxyd.metrics()['proxyd_config_reloads_total{result="unchanged"}'] == 1

    # Bad: refused, the old one serves on.
    refused = stage.reload(stage.config("two").replace("respond", "respnd"))
    assert refused.returncode == 6, refused
    assert "did you mean `respond`" in refused.stderr
    assert stage.serves() == "one"

    # Planned and taken, under a guard that holds.
    planned = stage.reload(stage.config("two"), "--dry-run")
    assert "1 change would be made: 1 route changed, no connection will drain" in planned.stdout, planned
    taken = stage.proxyd.run("reload", "--guard", "errors > 2% for 3s")
    assert taken.returncode == 0, taken
    assert "is kept: the guard held for 3s" in taken.stdout
    assert stage.serves() == "two"

    # Breaks one request of ten: gone back from by itself.
    began = time.monotonic()
    broken = stage.reload(stage.config("three", broken=True), "--guard", f"errors > 2% for {WINDOW_S}s")
    seconds = time.monotonic() - began
    assert broken.returncode == 6, broken
    share = re.search(r"rolled back to 3: ([0-9.]+)% errors among (\d+) requests, the guard allows 2%, after ([0-9.]+m?s)", broken.stderr)
    assert share, broken.stderr
    assert 8 <= float(share[1]) <= 12
    assert seconds < WINDOW_S / 2
    assert stage.serves() == "two"
    story = [(entry["number"], entry["how"], entry["result"], entry["restores"]) for entry in reversed(stage.history())]
    assert story == [
        (1, "start", "served", 0), (2, "reload", "refused", 0), (3, "reload", "served", 0), (4, "reload", "rolled back", 0),
        (5, "guard", "serving", 3),
    ]
    told = stage.proxyd.run("history").stdout
    assert re.search(r"^4 .* rolled back .*errors among .* requests, the guard allows 2%", told, re.MULTILINE), told
    status = " ".join(stage.proxyd.run("status").stdout.split())
    assert "config 5 (as 3, " in status
    assert "is not what serves (config 3 does)" in status, status
    assert stage.proxyd.total("proxyd_upstream_server_up", stage.bad_address) == 0
    print(f"\n{told}\nguard: {share[1]} % of {share[2]} requests, rolled back after {share[3]}")

    # Nobody confirms it: gone back from. Confirmed: stays.
    tried = stage.reload(stage.config("four"), "--confirm", "2s")
    assert tried.returncode == 0, tried
    assert "unless `proxyd confirm` comes within" in tried.stdout
    assert stage.serves() == "four"
    until(lambda: stage.serves() == "two", "nobody confirmed it")
    assert stage.history()[1]["note"] == "nobody confirmed it within 2s"
    assert stage.proxyd.run("confirm").returncode == 7
    assert stage.proxyd.run("reload", "--confirm", "2s").returncode == 0
    assert stage.proxyd.run("confirm").returncode == 0
    again = time.monotonic() + 3
    until(lambda: time.monotonic() > again, "the time of the confirmation is over")
    assert stage.serves() == "four"

    # By hand: back, and what there is not.
    assert stage.proxyd.run("rollback").returncode == 0
    assert stage.serves() == "two"
    assert stage.proxyd.run("rollback", "99").returncode == 7
    load = stage.wrk.stop()
    assert sum(load.errors.values()) == 0, load

    # A crash, and a broken file at the start.
    serving = stage.proxyd.status()
    stage.proxyd.kill()
    stage.proxyd.config.write_text(stage.config("five").replace("respond", "respnd"))
    start = stage.proxyd.run("run", "-c", str(stage.proxyd.config))
    assert start.returncode == 3, start
    assert "`proxyd run --last-good` serves config" in start.stderr
    kept = LastGood(stage)
    with ending(kept):
        assert stage.serves() == "two"
        after = kept.status()
        assert (after["config_hash"], after["serving"]["file_differs"]) == (serving["config_hash"], True)
        verified(kept, stage.folder)
        assert kept.end() == 0


@pytest.mark.parametrize(("crashes", "outcome"), [(1, "confirmed"), (3, "rolled back")])
def test_a_trial_outlives_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crashes: int, outcome: str) -> None:
    monkeypatch.setenv("PROXYD_STATE", str(tmp_path / "state"))
    port = free_port()
    text = f"log: {{access: none}}\nlisten: '127.0.0.1:{port}'\nroutes: [{{respond: {{body: 'one.'}}}}]\n"

    def serves() -> str:
        answer = exchange(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return answer.rpartition(b"\r\n\r\n")[2].decode().removesuffix(".")

    proxyd = Proxyd(tmp_path, text, "--supervise")
    with ending(proxyd):
        proxyd.config.write_text(text.replace("one.", "two."))
        assert proxyd.run("reload", "--confirm", "12s").returncode == 0
        began = proxyd.status()["serving"]["trial"]
        for _ in range(crashes):
            proxyd.crash()
            assert serves() == "two"
            trial = proxyd.status()["serving"]["trial"]
            assert (trial["entry"], trial["back_to"]) == (began["entry"], began["back_to"])
        if outcome == "confirmed":
            assert proxyd.run("confirm").returncode == 0
        else:
            until(lambda: serves() == "one", "nobody confirmed it", 30)
        tried = json.loads(proxyd.run("history", "--json", "--all").stdout)[-2]
        assert tried["note"].endswith("(the daemon was restarted meanwhile)")
        assert tried["result"] == ("serving" if outcome == "confirmed" else "rolled back")


class LastGood(Proxyd):
    """The same daemon, started on its broken file."""

    def __init__(self, stage: Stage) -> None:
        self.config, self.admin = stage.proxyd.config, stage.proxyd.admin
        Path(self.admin.removeprefix("unix:")).unlink(missing_ok=True)
        command = [*self._command("run"), "--last-good", "-c", str(self.config)]
        super(Proxyd, self).__init__(command, stage.folder / "last-good.log")
        self.ready(lambda: "  admin: " in self.output(), "proxyd serves the last good config")


def verified(proxyd: Proxyd, folder: Path) -> None:
    """The trail of it all is whole, and no mutant of it is."""
    done = proxyd.run("audit", "verify", "--json")
    assert done.returncode == 0, done
    trail = Path(json.loads(done.stdout)["file"])
    assert trail.is_relative_to(folder)
    records = json.loads(proxyd.run("audit", "show", "-n", "100", "--json").stdout)
    actions = [(record["action"], record["who"] == "proxyd", record["result"]) for record in records]
    assert ("config.reload", False, "refused") in actions
    assert ("config.rollback", True, "ok") in actions
    assert ("config.confirm", False, "ok") in actions
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    lines = trail.read_bytes().splitlines(keepends=True)
    head = json.loads(lines[-1])["hash"]
    mutants = {
        "changed": [*lines[:2], lines[2].replace(b'"ok"', b'"no"').replace(b'"refused"', b'"ok"'), *lines[3:]],
        "removed": lines[:2] + lines[3:],
        "inserted": [*lines[:3], lines[1], *lines[3:]],
        "truncated": lines[:-1],
    }
    for fault, mutant in mutants.items():
        copy = folder / f"{fault}.jsonl"
        copy.write_bytes(b"".join(mutant))
        found = proxyd.run("audit", "verify", str(copy), "--head", head, "--json")
        facts = json.loads(found.stdout)
        assert (found.returncode, facts["fault"]) == (1, fault), found
        print(f"{fault}: line {facts['line']}: {facts['text']}")
    assert os.stat(trail).st_mode & 0o077 == 0
