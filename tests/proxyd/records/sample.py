"""Records as the tap gives them, made by the native writer from plain values."""
from __future__ import annotations

import json

from proxyd.records.tap import Record
from proxyd_ext.core.fault import faults
from proxyd_ext.log.render import render_record

Values = dict[str, int | bytes | None]

REQUEST: Values = {
    "time_us": 1_700_000_000_123_456, "id": 0x7F3A91, "listener": b"web", "route": b"api", "client_ip": b"192.0.2.7", "client_port": 5123,
    "method": b"GET", "host": b"shop.example.com", "path": b"/api/v1/pay", "upstream": b"api", "server": b"10.0.1.13:8000",
    "t_total_us": 12_345, "t_first_byte_us": 9_000, "attempts": 1, "config": 0xABCDEF012345,
}
FLOW: Values = {
    "kind": 2, "end": 1, "time_us": 1_700_000_000_000_000, "id": 0xAB, "listener": b"sni", "route": b"internal", "client_ip": b"192.0.2.7",
    "client_port": 5123, "bytes_in": 900, "bytes_out": 34_567_890, "t_total_us": 2_000_000, "upstream": b"app", "server": b"10.0.0.1:443",
    "attempts": 1, "tls_name": b"db.internal", "tls_alpn": b"\x02h2\x08http/1.1",
}


def fault(word: str) -> int:
    return int(faults()[word]["code"])


def record(**changes: int | bytes | None) -> Record:
    found: Record = json.loads(render_record("json", REQUEST | changes))
    return found


def failed(word: str, status: int, **changes: int | bytes | None) -> Record:
    """Answered by proxyd itself."""
    return record(**{"status": status, "status_by": 1, "fault": fault(word), "t_first_byte_us": None} | changes)


def flow(**changes: int | bytes | None) -> Record:
    found: Record = json.loads(render_record("json", FLOW | changes))
    return found
