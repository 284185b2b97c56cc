"""Memory of idle keep-alive connections: each serves one request, then they all stay open while the proxy's memory is read.
Of idle flows, too: a message comes back on each.

Clients come from many addresses of 127.0.0.0/8, so that a limit on connections per client does not decide.
"""

from __future__ import annotations

import socket
import time

from harness import l4, system
from harness.contestants import Contestant, Running, origin_start
from harness.model import IdleMemory, Placement, Workload, WorkloadResult
from harness.rounds import Settings, enter

PER_ADDRESS = 100
WARM_UP_CONNECTIONS = 256
SETTLE_SECONDS = 1.0
_REQUEST = b"GET /64 HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\n\r\n"


def source_address(index: int) -> str:
    block = index // PER_ADDRESS
    return f"127.{1 + block // 62_500}.{block // 250 % 250}.{1 + block % 250}"


def _open(workload: Workload, port: int, index: int) -> socket.socket:
    """A connection that has served one request. OSError or EOFError when it was refused."""
    if workload.l4:
        return l4.open_flow(port, source_address(index))
    client = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source_address(index), 0))
    client.sendall(_REQUEST)
    head = b""
    while b"\r\n\r\n" not in head or len(head) - head.index(b"\r\n\r\n") - 4 < 64:
        got = client.recv(4096)
        if not got:
            client.close()
            raise EOFError(f"connection {index} was closed")
        head += got
    if not head.startswith(b"HTTP/1.1 200"):
        client.close()
        raise EOFError(f"connection {index} was answered {head[:40]!r}")
    return client


def _alive(clients: list[socket.socket]) -> int:
    """How many are still open: an idle connection has nothing to read, a closed one reads as an end."""
    alive = 0
    for client in clients:
        client.setblocking(False)
        try:
            client.recv(1)
        except BlockingIOError:
            alive += 1
        except OSError:
            pass
    return alive


def measure(one: Running, workload: Workload, count: int) -> IdleMemory:
    for index in range(WARM_UP_CONNECTIONS):  # what is allocated once belongs to no connection
        _open(workload, one.port, index).close()
    time.sleep(SETTLE_SECONDS)
    rss_before, pss_before = system.group_memory(one.group)
    clients: list[socket.socket] = []
    faults = []
    try:
        for index in range(count):
            clients.append(_open(workload, one.port, index))
        time.sleep(SETTLE_SECONDS)
        rss, pss = system.group_memory(one.group)
        alive = _alive(clients)
        if alive < count:
            faults.append(f"only {alive} of {count} connections were still open when memory was read")
    except (OSError, EOFError) as error:
        rss, pss = system.group_memory(one.group)
        faults.append(f"{len(clients)} of {count} connections opened: {error}")
    finally:
        for client in clients:
            client.close()
    return IdleMemory(one.contestant.name, len(clients), rss_before, rss, pss_before, pss, tuple(faults))


def run_idle(workload: Workload, placement: Placement, contestants: list[Contestant], settings: Settings) -> WorkloadResult:
    result = WorkloadResult(workload, placement)
    count = min(workload.idle_connections, (settings.nofile - 600) // (2 if workload.l4 else 1))  # the proxy has two for a flow
    if count < workload.idle_connections:
        result.notes.append(f"the descriptor limit of {settings.nofile} allows {count} connections only")
    origin = origin_start(settings.tools.origin_of(workload), workload.servers, placement.rest)
    try:
        for contestant in contestants:
            one = enter(contestant, workload, origin, placement, settings, result)
            if not one:
                continue
            try:
                memory = measure(one, workload, count)
            finally:
                one.stop()
            result.idle.append(memory)
            settings.say(f"  {contestant.name}: {memory.pss_each:.0f} bytes a connection {'; '.join(memory.faults)}")
    finally:
        origin.stop()
    return result
