"""What a record tells of a flow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from proxyd_ext.log import AccessLog
from proxyd_ext.snapshot.compile import Snapshot
from tests.support.engine import Rig
from tests.support.flows import await_end, pair, serve_flows
from tests.support.records import read_record


def test_a_flow_of_tcp_names_its_route(rig: Rig, tmp_path: Path) -> None:
    """The only one of its listener, by the listener's name: as of datagrams."""
    origin = rig.origin()
    serve_flows(rig, origin)
    assert rig.spec is not None
    with (tmp_path / "log").open("wb") as file:
        access = AccessLog(file.fileno(), "json", len(rig.engines))
    access.start()
    rig.generation += 1
    snapshot = Snapshot(replace(rig.spec, generation=rig.generation))
    for engine in rig.engines:
        engine.publish(snapshot, access)
    for _ in rig.engines:
        rig.event("ack", rig.generation)
    client, peer = pair(rig, origin)
    client.send(b"hello")
    assert peer.read(5) == b"hello"
    client.half_close()
    peer.half_close()
    await_end(rig, "client")
    rig.until(lambda: access.written == 1, "a record")
    access.flush()
    record = read_record((tmp_path / "log").read_bytes())
    assert (record["kind"], record["listener"], record["route"], record["end"]) == ("tcp", "web", "web", "client")
    assert (record["bytes_in"], record["bytes_out"]) == (5, 0)
    access.stop()
