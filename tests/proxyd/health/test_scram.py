from __future__ import annotations

import pytest

from proxyd.health.scram import Scram, ScramError, prepared

NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = f"r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


def test_the_exchange_of_the_rfc() -> None:
    """RFC 7677 §3."""
    scram = Scram("pencil", NONCE, "user")
    assert scram.first() == f"n,,n=user,r={NONCE}"
    assert scram.final(SERVER_FIRST) == (
        f"c=biws,r={NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    scram.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    with pytest.raises(ScramError, match="prove"):
        scram.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=")
    with pytest.raises(ScramError, match="prove"):
        Scram("pencil").verify("v=")


@pytest.mark.parametrize(
    "wrong",
    [
        SERVER_FIRST.replace("rOp", "xOp"),
        SERVER_FIRST.replace("i=4096", "i=0"),
        SERVER_FIRST.replace("i=4096", "i=99999999"),
        SERVER_FIRST.replace("i=4096", "i=-1"),
        SERVER_FIRST.replace("Q==", "Q"),
        SERVER_FIRST.replace(",s=", ",x=1,s="),
        "e=other-error",
        "",
    ],
)
def test_a_first_message_that_is_none(wrong: str) -> None:
    with pytest.raises(ScramError):
        Scram("pencil", NONCE, "user").final(wrong)


def test_nonces_differ() -> None:
    assert len({Scram("x").first() for _ in range(10)}) == 10


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        # RFC 4013 §3
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        # prohibited, or without any text left: as it stands
        ("\x07", "\x07"),
        ("\u0627\u0031", "\u0627\u0031"),
        ("\u00ad", "\u00ad"),
        ("\u0627a\u0627", "\u0627a\u0627"),
    ],
)
def test_passwords_are_prepared(password: str, expected: str) -> None:
    assert prepared(password) == expected.encode()
