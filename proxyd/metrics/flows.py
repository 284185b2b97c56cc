"""The metric families of listeners that pass on what comes: connections (`tcp`, `tls_passthrough`) and datagrams (`udp`)."""
from __future__ import annotations

from collections.abc import Iterable, Mapping

from proxyd.metrics.families import Family, Labels, counter, gauge
from proxyd.sockets import socket_kind
from proxyd.state import ListenerEntry
from proxyd.tally import Stats


def flow_families(listeners: Iterable[ListenerEntry], totals: Mapping[Labels, Stats]) -> Iterable[Family]:
    """`totals`: of listeners, by (name, kind), so that one that changes its mode does not take its old counts along."""
    connections = counter("tcp_connections_total", "Client connections that were to be passed on, refused ones too.", ("listener",))
    flows = counter("udp_flows_total", "Flows of datagrams that clients began.", ("listener",))
    moved = counter("l4_bytes_total", "Bytes of flows from clients (in) and to them (out).", ("listener", "direction"))
    datagrams = counter("udp_datagrams_total", "Datagrams from clients (in) and to them (out).", ("listener", "direction"))
    ends = counter("l4_flow_ends_total", "Flows that ended, by reason.", ("listener", "reason"))
    is_open = gauge("l4_flows", "Flows open now.", ("listener",))
    entries = [entry for entry in listeners if socket_kind(entry.mode) != "http"]
    for name, kind in dict.fromkeys((entry.name, socket_kind(entry.mode)) for entry in entries):
        total = totals[name, kind]
        (flows if kind == "udp" else connections).add((name,), total["accepted"])
        for direction in ("in", "out"):
            moved.add((name, direction), total[f"bytes_{direction}"])
            if kind == "udp":
                datagrams.add((name, direction), total[f"packets_{direction}"])
        for reason, count in total["ended"].items():
            ends.add((name, reason), count)
    for entry in entries:
        is_open.more((entry.name,), entry.listener.stats()["open"])
    return connections, flows, moved, datagrams, ends, is_open
