"""What of a config and of a running daemon is worth a word."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxyd.doctor import service
from proxyd.loading import load_given

GOOD = "listen: 127.0.0.1:8080\nroutes: [respond: 204]\n"
STATUS: dict[str, Any] = {
    "pid": 42, "version": "1.0", "threads": 2, "ready": True, "not_ready": [], "warnings": [], "last_reload": None, "listeners": [],
    "engines": [{"index": 0, "alive": True, "loop_lag_seconds": 0.001}],
}


def levels(found: Any) -> list[tuple[str, str]]:
    return [(finding.level, finding.subject) for finding in found]


@pytest.mark.parametrize(("text", "level", "words"), [
    (GOOD, "good", "is valid"),
    ("listen: nonsense\n", "error", "has 1 error"),
    (GOOD + "upstreams: {unused: ['127.0.0.1:1']}\n", "warning", "has 1 warning"),
])
def test_the_config(text: str, level: str, words: str) -> None:
    found = next(service.examine_config(load_given(text, None), Path("p.yaml")))
    assert (found.level, words in found.text) == (level, True), found


def test_files_that_it_writes(tmp_path: Path) -> None:
    text = f"{GOOD}log: {{access: {tmp_path}/access.log}}\nusage: {tmp_path}/none/usage.json\n"
    config = load_given(text, None).config
    assert config is not None
    assert levels(service.examine_files(config)) == [("good", "access log"), ("error", "usage file")]


def test_a_file_that_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    found = service.writable("access log", tmp_path / "access.log")
    assert found.level == "warning"
    assert found.advice.startswith(f"chown it to the user that runs proxyd: {tmp_path} is d")


@pytest.mark.parametrize(("mode", "level"), [(0o600, "good"), (0o666, "warning")])
def test_the_admin_socket(tmp_path: Path, mode: int, level: str) -> None:
    path = tmp_path / "admin.sock"
    path.touch()
    path.chmod(mode)
    assert levels(service.examine_socket(f"unix:{path}")) == [(level, "admin socket")]


def test_no_socket_is_nothing() -> None:
    assert list(service.examine_socket("unix:/nowhere")) == []
    assert list(service.examine_socket("http://127.0.0.1:2080")) == []


@pytest.mark.parametrize(("change", "expected"), [
    ({}, [("good", "daemon"), ("good", "readiness"), ("good", "engines")]),
    ({"version": "0.9"}, [("note", "daemon"), ("good", "readiness"), ("good", "engines")]),
    ({"ready": False, "not_ready": ["upstream app has no usable server"]},
     [("good", "daemon"), ("error", "readiness"), ("good", "engines")]),
    ({"warnings": ["x does not resolve"]},
     [("good", "daemon"), ("good", "readiness"), ("warning", "running config"), ("good", "engines")]),
    ({"engines": [{"index": 3, "alive": False, "loop_lag_seconds": 0.0}]},
     [("good", "daemon"), ("good", "readiness"), ("error", "engines")]),
    ({"engines": [{"index": 0, "alive": True, "loop_lag_seconds": 0.5}]},
     [("good", "daemon"), ("good", "readiness"), ("warning", "engines")]),
    ({"listeners": [{"name": "web", "rejected": {"fd_exhausted": 3, "denied": 4}}]},
     [("good", "daemon"), ("good", "readiness"), ("good", "engines"), ("warning", "listener web")]),
    ({"last_reload": {"ok": False, "summary": "2 errors"}},
     [("good", "daemon"), ("good", "readiness"), ("good", "engines"), ("warning", "last reload")]),
])
def test_the_daemon(change: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert levels(service.examine_daemon(STATUS | change, "1.0")) == expected


@pytest.mark.parametrize(("text", "advice"), [
    ("p.yaml is not what serves (config 1 does) [PXD-258]", "proxyd diff"), ("x does not resolve", "proxyd check"),
])
def test_where_to_look_for_a_warning(text: str, advice: str) -> None:
    found = service.examine_daemon(STATUS | {"warnings": [text]}, "1.0")
    assert [finding.advice for finding in found if finding.subject == "running config"] == [advice]


def test_records_that_were_dropped() -> None:
    metrics = {'proxyd_log_dropped_total{sink="access"}': 3.0, 'proxyd_log_dropped_total{sink="x"}': 0.0, "other": 5.0}
    found, = service.examine_drops(metrics)
    assert found.text.startswith("3 records were dropped")
