"""Who is logged in: sessions in memory, so that a restart ends them all. A session is found by a token that its browser has as a cookie.

A token is used for a quarter of an hour, then the answer to a request brings another one. The old one holds until the new one was seen,
and a moment longer: several requests may be under way, and the answer with the new one may have been lost. Only digests of tokens are kept;
they are found in a dict, which is no comparison whose time would tell anything about a token.
"""
from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from proxyd.clock import Clock

IDLE_S = 30 * 60.0
LIFE_S = 12 * 3600.0
TOKEN_S = 15 * 60.0      # a token's age from which on it is replaced
OVERLAP_S = 60.0         # for which the one before it holds, once the new one was seen
SESSIONS_MAX = 256       # the one that was used least recently ends


@dataclass(slots=True, eq=False)
class Session:
    user: str
    began: float             # monotonic, as all times here
    used: float
    digest: bytes            # of its token
    issued: float
    secure: bool             # its cookie is for https alone
    before: bytes = b""      # digest of the token before it; b"": that holds no more
    seen: float | None = None        # when the token was used first, while there is one before it

    def ends(self) -> float:
        return min(self.used + IDLE_S, self.began + LIFE_S)


class Sessions:
    def __init__(self, clock: Clock, on_end: Callable[[Session], None] = lambda session: None) -> None:
        """`on_end` is told of sessions that end before their time."""
        self._clock, self._on_end = clock, on_end
        self._by_digest: dict[bytes, Session] = {}
        self._sessions: OrderedDict[Session, None] = OrderedDict()      # by last use

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, user: str, *, secure: bool = False) -> str:
        """A new session; returns its token."""
        now, token = self._clock.monotonic(), secrets.token_urlsafe(32)
        session = Session(user, now, now, _digest(token), now, secure)
        self._sessions[session] = None
        self._by_digest[session.digest] = session
        while len(self._sessions) > SESSIONS_MAX:
            self.end(next(iter(self._sessions)))
        return token

    def find(self, token: str) -> Session | None:
        """The session of a token, which counts as used now; None when there is none any more."""
        digest, now = _digest(token), self._clock.monotonic()
        session = self._by_digest.get(digest)
        if session is None:
            return None
        if session.ends() <= now:
            self.end(session)
            return None
        if digest == session.before and session.seen is not None and now >= session.seen + OVERLAP_S:
            self._forget(session.before)
            session.before = b""
            return None
        if digest == session.digest and session.before and session.seen is None:
            session.seen = now
        session.used = now
        self._sessions.move_to_end(session)
        return session

    def renew(self, session: Session, token: str) -> str:
        """A new token for a session that was found by `token`, when it is time for one; else ""."""
        now, digest = self._clock.monotonic(), _digest(token)
        age = now - session.issued
        lost = digest == session.before and session.seen is None and age >= OVERLAP_S      # nobody got the last one
        if not lost and (digest != session.digest or age < TOKEN_S):
            return ""
        self._forget(session.digest if lost else session.before)
        if not lost:
            session.before = session.digest
        found = secrets.token_urlsafe(32)
        session.digest, session.issued, session.seen = _digest(found), now, None
        self._by_digest[session.digest] = session
        return found

    def end(self, session: Session) -> None:
        if session in self._sessions:
            del self._sessions[session]
            self._forget(session.digest)
            self._forget(session.before)
            self._on_end(session)

    def end_of(self, user: str) -> None:
        """End every session of a user."""
        for session in [entry for entry in self._sessions if entry.user == user]:
            self.end(session)

    def _forget(self, digest: bytes) -> None:
        self._by_digest.pop(digest, None)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
