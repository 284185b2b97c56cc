"""Bodies on their way: large ones, slow ends, back-pressure, ends that come too early."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from tests.support.engine import OK, Rig, get
from tests.support.wire import Message, Peer

MIB = 1 << 20
SIZES = [1, 4096, 16_384, 65_535, 65_536, 65_537, 131_072, MIB, 5 * MIB]
Encode = Callable[[bytes], bytes]


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes in which a lost, doubled or moved piece shows."""
    return hashlib.shake_128(b"%d" % seed).digest(size)


def with_length(data: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%s" % (len(data), data)


def in_chunks(data: bytes, most: int = 50_000) -> bytes:
    pieces = [data[at : at + most] for at in range(0, len(data), most)]
    return b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


ENCODINGS: dict[str, Encode] = {"length": with_length, "chunked": in_chunks}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", SIZES)
def test_answers(rig: Rig, size: int, encoding: str) -> None:
    """Whole and unchanged, twice over the same two connections."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    peer: Peer | None = None
    for seed in range(2):
        data = noise(size, seed)
        client.send(get(f"/{seed}"))
        peer = peer or origin.accept()
        assert peer.request().target == f"/{seed}"
        peer.send(b"HTTP/1.1 200 OK\r\n" + ENCODINGS[encoding](data))
        response = client.response()
        assert response.framing == encoding
        assert response.body == data
    rig.counted("GET", 200, 2)
    assert rig.of(origin)["opened"] == 1
    stats = rig.stats_of("web", "all").stats()
    assert 2 * size < stats["bytes_out"] < 2 * size + 100_000
    assert rig.of(origin)["bytes_in"] >= 2 * size


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", SIZES)
def test_requests(rig: Rig, size: int, encoding: str) -> None:
    """The same the other way, with another request right behind the body."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    peer: Peer | None = None
    for seed in range(2):
        data = noise(size, seed)
        client.send(b"POST /p HTTP/1.1\r\nHost: test\r\n" + ENCODINGS[encoding](data) + get("/behind"))
        peer = peer or origin.accept()
        request = peer.request()
        assert (request.start, request.framing) == ("POST /p HTTP/1.1", encoding)
        assert request.body == data
        peer.send(OK)
        assert client.response().body == b"ok"
        assert peer.request().target == "/behind"
        peer.send(OK)
        assert client.response().body == b"ok"
    rig.counted("POST", 200, 2)
    assert rig.of(origin)["opened"] == 1
    assert rig.stats_of("web", "all").stats()["bytes_in"] == 2 * size
    assert rig.of(origin)["bytes_out"] >= 2 * size


def test_echo_of_much_in_both_directions_at_once(rig: Rig) -> None:
    """The answer begins while the request is still coming: 3 MiB up and 3 MiB down."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    data = noise(3 * MIB)
    client.send(get("/", f"Content-Length: {len(data)}", method="POST") + data[:MIB])
    peer = origin.accept()
    peer.head()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data))
    for at in range(0, len(data), 65_536):
        client.send(data[at + MIB : at + MIB + 65_536])
        peer.send(peer.read(65_536))
    response = client.response()
    assert response.body == data
    rig.counted("POST", 200)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_slow_reader(rig: Rig, framing: str) -> None:
    """8 MiB wait in the origin, not in us; when the client reads at last it gets all."""
    bound = 131_072
    origin = rig.origin(send_bytes=65_536)
    rig.listen(send_bytes=65_536)
    rig.serve(origin, buffer=bound)
    client = rig.connect(receive_bytes=65_536)
    data = noise(8 * MIB)
    client.send(get())
    peer, _ = origin.asked()
    peer.send(b"HTTP/1.1 200 OK\r\n" + (ENCODINGS[framing](data) if framing != "close" else b"\r\n" + data))
    if framing == "close":
        peer.half_close()
    rig.at_rest(lambda: peer.unsent)
    assert peer.unsent > 0
    assert rig.total("buffers_bytes") <= 2 * bound + 2 * 65_536
    assert client.response().body == data
    rig.counted("GET", 200)
    assert rig.errors() == {}


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_slow_origin(rig: Rig, framing: str) -> None:
    """Most of 16 MiB waits in the client; the kernel keeps what a send buffer to the origin takes, 4 MiB as a rule."""
    bound = 131_072
    origin = rig.origin(receive_bytes=65_536)
    rig.listen(receive_bytes=65_536)
    rig.serve(origin, buffer=bound)
    client = rig.connect(send_bytes=65_536)
    data = noise(16 * MIB)
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + ENCODINGS[framing](data))
    peer = origin.accept()
    rig.at_rest(lambda: client.unsent)
    assert client.unsent > 0
    assert rig.total("buffers_bytes") <= 2 * bound + 2 * 65_536
    assert peer.request().body == data
    peer.send(OK)
    assert client.response().body == b"ok"
    rig.counted("POST", 200)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 103 Early Hints\r\nLink: <" + b"a" * 30_000 + b">\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000]
)
def test_flood_of_interim_answers(rig: Rig, answer: bytes) -> None:
    """A client that does not read is no reason to hoard them."""
    origin = rig.origin(send_bytes=65_536)
    rig.listen(send_bytes=65_536)
    rig.serve(origin, buffer=131_072)
    client = rig.connect(receive_bytes=65_536)
    client.send(get())
    peer, _ = origin.asked()
    peer.send(answer * (16 * MIB // len(answer)))
    rig.at_rest(lambda: (peer.unsent, rig.total("buffers_bytes")))
    assert rig.total("buffers_bytes") <= 131_072 + 4 * 65_536


@pytest.mark.parametrize("how", ["close", "half_close", "reset"])
@pytest.mark.parametrize("size", [1000, 60_000, MIB, 5 * MIB])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_truncated_answer(rig: Rig, encoding: str, size: int, how: str) -> None:
    """The origin stops half way: the client must see that it did."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get())
    peer, _ = origin.asked()
    whole = b"HTTP/1.1 200 OK\r\n" + ENCODINGS[encoding](noise(size))
    peer.send(whole[: len(whole) // 2])
    rig.until(lambda: b"\r\n\r\n" in client.got(), "the head")
    rig.until(lambda: peer.unsent == 0, "all sent")
    getattr(peer, how)()
    if not client.was_reset():
        head, _, body = bytes(client.received).partition(b"\r\n\r\n")
        if encoding == "length":
            assert b"\r\nContent-Length: %d" % size in head
            assert len(body) < size
        else:
            assert not body.endswith(b"0\r\n\r\n")
    rig.counted("GET", 200)
    assert rig.errors() == {"upstream_truncated": 1}
    assert rig.of(origin)["errors"] == {"upstream_truncated": 1}
    assert rig.of(origin)["in_flight"] == 0


def test_truncated_answer_to_http_1_0(rig: Rig) -> None:
    """Without a length, only a reset tells."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/", version="1.0"))
    peer, _ = origin.asked()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe")
    rig.until(lambda: client.got().endswith(b"hellohe"), "what there is")
    peer.close()
    assert client.was_reset()
    assert rig.errors() == {"upstream_truncated": 1}


def test_reset_of_an_answer_without_length(rig: Rig) -> None:
    """A close-delimited answer that ends by RST is not whole."""
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get())
    peer, _ = origin.asked()
    peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
    rig.until(lambda: b"hello" in client.got(), "what there is")
    peer.reset()
    assert client.was_reset() or not client.received.endswith(b"0\r\n\r\n")
    assert rig.errors() == {"upstream_truncated": 1}


@pytest.mark.parametrize("chunks", [b"5\r\nhelloX\r\n", b"zz\r\n", b"fffffffffffffffff\r\n", b"5\r\nhello\n0\n\n"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_bad_chunks_in_an_answer(rig: Rig, version: str, chunks: bytes) -> None:
    origin = rig.origin()
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/", version=version))
    peer, _ = origin.asked()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + chunks)
    if version == "1.0":
        assert client.was_reset()
    else:
        assert not client.rest().endswith(b"0\r\n\r\n")
    rig.until(lambda: rig.errors() == {"upstream_chunk": 1}, "it is counted")
    assert peer.was_reset() or peer.eof
    assert rig.of(origin)["connections_idle"] == 0


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_client_leaves_within_a_large_body(rig: Rig, encoding: str, how: str, direction: str) -> None:
    origin = rig.origin(receive_bytes=65_536, send_bytes=65_536)
    rig.listen(send_bytes=65_536, receive_bytes=65_536)
    rig.serve(origin)
    client = rig.connect(receive_bytes=65_536, send_bytes=65_536)
    data = bytes(24 * MIB)
    if direction == "up":
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\n" + ENCODINGS[encoding](data))
        peer = origin.accept()
        peer.head()
    else:
        client.send(get())
        peer, _ = origin.asked()
        peer.send(b"HTTP/1.1 200 OK\r\n" + ENCODINGS[encoding](data))
    rig.at_rest(lambda: (client.unsent, peer.unsent))
    getattr(client, how)()
    assert peer.was_reset() or peer.eof
    rig.until(lambda: rig.errors() == {"client_closed": 1}, f"it is counted: {rig.errors()}")
    assert rig.of(origin)["errors"] == {}


@pytest.mark.parametrize("ending", ["stay", "half_close", "close", "reset"])
@pytest.mark.parametrize(
    "body", [b"Content-Length: 3\r\n\r\nbig", in_chunks(b"big"), with_length(noise(300_000)), in_chunks(noise(300_000))]
)
def test_early_answer_to_a_large_upload(rig: Rig, body: bytes, ending: str) -> None:
    """413 while megabytes are still coming, whatever the origin does with its connection afterwards."""
    origin = rig.origin(receive_bytes=65_536)
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/", f"Content-Length: {32 * MIB}", method="PUT") + b"x" * (16 * MIB))
    peer = origin.accept()
    peer.head()
    rig.at_rest(lambda: client.unsent)
    peer.send(b"HTTP/1.1 413 Content Too Large\r\n" + body)
    rig.until(lambda: peer.unsent == 0, "it is said")
    if ending in ("half_close", "stay"):
        getattr(peer, ending, lambda: None)()
        head = Message(client.head())
        assert (head.status, head.field("connection")) == (413, "close")
        rig.until(lambda: client.got() is not None and rig.requests().get(("PUT", 413)), "the answer is over")
    else:
        # A reset may overtake the answer on its way from the origin: then it is a 502, but never silence.
        getattr(peer, ending)()
        assert Message(client.head()).status in (413, 502)
    client.unsent_dropped()
    client.half_close()
    rig.until(lambda: rig.total("exchanges") == 0, "the exchange is over")


def test_early_answer_that_only_the_end_delimits(rig: Rig) -> None:
    """The same with an answer without length: its end is seen although the request body stands still."""
    origin = rig.origin(receive_bytes=65_536)
    rig.serve(origin)
    client = rig.connect()
    client.send(get("/", f"Content-Length: {32 * MIB}", method="PUT") + b"x" * (16 * MIB))
    peer = origin.accept()
    peer.head()
    rig.at_rest(lambda: client.unsent)
    peer.send(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n" + noise(200_000))
    peer.half_close()
    response = client.response()
    assert (response.status, response.body) == (413, noise(200_000))
    rig.counted("PUT", 413)


def test_many_large_answers_at_once(rig: Rig) -> None:
    """Forty slow readers: each is held to its bound, all are served."""
    data = noise(2 * MIB)
    origin = rig.origin(send_bytes=65_536).serve(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))
    rig.listen(send_bytes=65_536)
    rig.serve(origin, buffer=65_536)
    clients = [rig.connect(receive_bytes=65_536) for _ in range(40)]
    for client in clients:
        client.send(get())
    rig.at_rest(lambda: sum(peer.unsent for peer in origin.peers))
    assert rig.total("buffers_bytes") <= 40 * 3 * 65_536
    for client in clients:
        assert client.response().body == data
    rig.counted("GET", 200, 40)
