"""Log-in and question to a PostgreSQL, as dialogues in its protocol. The ways to log in against the real server: acceptance."""
from __future__ import annotations

import hashlib
import hmac
import struct
from base64 import b64decode, b64encode

import pytest

from proxyd.clock import SystemClock
from proxyd.health import postgres
from proxyd.health.check import PostgresCheck, Role, run_check
from proxyd.health.probe import probe
from proxyd.health.scram import Scram
from tests.support.dialogue import CLOSE, Hears, Line, tcp_server

STARTUP = Hears(
    b"\0\0\0\x59\0\3\0\0user\0me\0database\0shop\0application_name\0proxyd health check\0client_encoding\0UTF8\0\0"
)
QUERY = Hears(b"Q\0\0\0\x1fselect pg_is_in_recovery()\0")
TERMINATE = Hears(b"X\0\0\0\4")


def says(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


def asks(method: int, data: bytes = b"") -> bytes:
    return says(b"R", struct.pack(">I", method) + data)


def error(code: str, text: str) -> bytes:
    return says(b"E", f"SFATAL\0VFATAL\0C{code}\0M{text}\0Fauth.c\0\0".encode())


def row(value: bytes) -> bytes:
    return says(b"D", b"\0\1" + struct.pack(">I", len(value)) + value)


READY = says(b"S", b"server_version\x0015.1\0") + says(b"K", b"\0\0\0\1\0\0\0\2") + says(b"N", b"SNOTICE\0\0") + says(b"Z", b"I")
COLUMNS, DONE = says(b"T", b"\0\1pg_is_in_recovery\0" + b"\0" * 18), says(b"C", b"SELECT 1\0") + says(b"Z", b"I")


def check(role: Role = "any", password: str = "") -> PostgresCheck:
    return PostgresCheck(role, "me", "shop", password, timeout=5)


async def reason(wanted: PostgresCheck, *lines: Line) -> str:
    async with tcp_server(STARTUP, *lines) as address:
        return (await run_check(wanted, address, SystemClock(), probe)).reason


@pytest.mark.parametrize(
    ("role", "value", "why"),
    [
        ("primary", b"f", ""),
        ("any", b"f", ""),
        ("replica", b"f", "it is a primary, a replica is wanted"),
        ("primary", b"t", "it is a replica, a primary is wanted"),
        ("replica", b"t", ""),
        ("any", b"t", ""),
        ("any", b"x", 'not an answer to the question for its role: "\\x00\\x01\\x00\\x00\\x00\\x01x"'),
    ],
)
async def test_roles(role: Role, value: bytes, why: str) -> None:
    answer = COLUMNS + row(value) + DONE
    leaves = () if value == b"x" else (TERMINATE,)
    assert await reason(check(role), asks(0) + READY, QUERY, answer[:7], answer[7:], *leaves) == why


async def test_passwords() -> None:
    rest = (asks(0) + READY, QUERY, COLUMNS + row(b"f") + DONE, TERMINATE)
    assert await reason(check(password="pä"), asks(3), Hears(says(b"p", "pä\0".encode())), *rest) == ""
    hashed = hashlib.md5(hashlib.md5(b"p&me").hexdigest().encode() + b"\1\2\3\4").hexdigest().encode()
    assert await reason(check(password="p&"), asks(5, b"\1\2\3\4"), Hears(says(b"p", b"md5" + hashed + b"\0")), *rest) == ""
    nobody = "the server asks user me for a password, and the check has none"
    assert [await reason(check(), asks(method)) for method in (3, 5, 10)] == [nobody] * 3


class FixedScram(Scram):
    """The exchange of RFC 7677 §3, but for the name, which PostgreSQL leaves out."""

    def __init__(self, password: str) -> None:
        super().__init__(password, "rOprNGfwEbeRWgbNEkqO")


OFFER = asks(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
CLIENT_FIRST = "n=,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
ANSWER = Hears(says(b"p", b"SCRAM-SHA-256\0\0\0\0\x1c" + b"n,," + CLIENT_FIRST.encode()))


def server_side() -> tuple[bytes, bytes]:
    """The client's last message and the server's, computed from RFC 5802 §3 by itself."""
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    bare = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    signed = f"{CLIENT_FIRST},{SERVER_FIRST},{bare}".encode()
    key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
    proof = b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True)))
    verifier = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
    return f"{bare},p=".encode() + proof, b"v=" + b64encode(verifier)


async def test_scram(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "Scram", FixedScram)
    last, proof = server_side()
    wanted, begin = check(password="pencil"), (OFFER, ANSWER, asks(11, SERVER_FIRST.encode()), Hears(says(b"p", last)))
    rest = (QUERY, COLUMNS + row(b"f") + DONE, TERMINATE)
    assert await reason(wanted, *begin, asks(12, proof) + asks(0) + READY, *rest) == ""
    wrong = "the server's log-in is not right: it does not prove that it knows the password"
    assert await reason(wanted, *begin, asks(12, b"v=AAAA") + asks(0) + READY) == wrong
    assert await reason(wanted, *begin, asks(0) + READY) == "the server's log-in is not right: it skips a step"
    assert await reason(wanted, OFFER, ANSWER, asks(0)) == "the server's log-in is not right: it skips a step"
    assert await reason(wanted, *begin, error("28P01", "no")) == "the server refuses user me: no"
    assert await reason(wanted, asks(10, b"SCRAM-SHA-256-PLUS\0\0")) == "the server does not offer SCRAM-SHA-256"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (error("28000", 'role "me" does not exist'), 'the server refuses user me: role "me" does not exist'),
        (error("57P03", "the database system is starting up"), "the server refuses: the database system is starting up"),
        (says(b"E", b"\0"), "the server refuses: without a word"),
        (asks(7), "the server asks user me for an authentication that checks do not have (GSSAPI)"),
        (asks(99), "the server asks user me for an authentication that checks do not have (of number 99)"),
        (says(b"R", b"\0"), 'not an answer of PostgreSQL: "\\x00"'),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 'not an answer of PostgreSQL: "HTTP/"'),
        (b"R\0\0\0\3", 'not an answer of PostgreSQL: "R\\x00\\x00\\x00\\x03"'),
        (b"R\x7f\0\0\0", 'not an answer of PostgreSQL: "R\\x7f\\x00\\x00\\x00"'),
        (b"R\0\0\0\x08\0\0", "closed the connection without an answer"),
        (b"", "closed the connection without an answer"),
    ],
)
async def test_other_answers(said: bytes, why: str) -> None:
    assert await reason(check(), said, CLOSE) == why


async def test_a_question_without_an_answer() -> None:
    refused = error("42501", "permission denied for function pg_is_in_recovery")
    assert await reason(check(), asks(0) + READY, QUERY, refused) == (
        "the server refuses: permission denied for function pg_is_in_recovery")
    assert await reason(check(), asks(0) + READY, QUERY, DONE) == "no answer to the question for its role"
