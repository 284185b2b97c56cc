"""The whole data path runs without the GIL."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from itertools import pairwise

from proxyd_ext.balance.server import Server
from proxyd_ext.snapshot.spec import MemberSpec, ProxyAction, RouteSpec, TargetSpec
from tests.support.engine import Rig


def hold_the_gil(seconds: float) -> tuple[float, float]:
    """Sleep in C with the GIL held (PyDLL does not release it): from when to when."""
    began = time.monotonic()
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    return began, time.monotonic()


def test_service_goes_on_while_python_stands_still(threaded: Rig) -> None:
    """For a second no Python can run in this process; a client and an origin in another process go on as before."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.gil_probe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as probe:
        assert probe.stdin is not None
        assert probe.stdout is not None
        port = int(probe.stdout.readline())
        server = Server("app", f"127.0.0.1:{port}", ("127.0.0.1", port))
        app = threaded.upstream()
        threaded.publish([RouteSpec("all", ProxyAction([TargetSpec(0)]))], [type(app)(app.name, app.state, [MemberSpec(server)])])
        print(threaded.ports["web"], file=probe.stdin, flush=True)
        assert probe.stdout.readline() == "ready\n"
        began, ended = hold_the_gil(1.0)
        probe.stdin.close()
        times = [moment for moment in json.loads(probe.stdout.readline()) if began <= moment <= ended]
    assert ended - began >= 1.0
    assert len(times) > 50
    assert max(later - earlier for earlier, later in pairwise([began, *times, ended])) < 0.5
    assert server.stats()["requests"][200] >= 8 * len(times)
    assert server.stats()["errors"] == {}
