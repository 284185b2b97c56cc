"""What engines ask the control plane about requests that wait, and a test's answers.

    question = decision(rig)                 # the next "decide"
    question.allow(user="ann")
    hook = hooked(rig, "response")           # the next "filter" of that hook
    hook.change(lines=b"X: 1\\r\\n")
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from proxyd_ext.auth.verdict import Verdict, Verdicts
from proxyd_ext.engine import Engine
from proxyd_ext.filter.hooks import Hooks
from proxyd_ext.snapshot.spec import AuthFilter, Filter, PythonFilter
from tests.support.engine import Rig
from tests.support.wire import Origin

CHALLENGE = b'WWW-Authenticate: Bearer realm="test"\r\n'


@dataclass(frozen=True, slots=True)
class Question:
    """One question, as it came, and the engine that waits."""

    engine: Engine
    slot: int
    generation: int
    subject: int               # Verdicts.id or Hooks.id
    hook: str                  # "" of a "decide"
    text: bytes
    credential: bytes = b""
    digest: bytes = b""

    @property
    def lines(self) -> list[bytes]:
        """Those of the request: target line, host, user, and, unless an answer is shown, the fields."""
        return self.text.split(b"\n")[: 3 if self.hook == "response" else -1]

    @property
    def target(self) -> list[str]:
        """Method, target, scheme, client, request id."""
        return self.lines[0].decode("latin-1").split(" ")

    @property
    def user(self) -> str:
        return self.lines[2].decode("latin-1")

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Of the request; of its answer for a "response"."""
        lines = self.text.split(b"\n")[5 if self.hook == "response" else 3 : -1]
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, _, value in (line.partition(b":") for line in lines)]

    @property
    def status(self) -> int:
        """Of the answer that is shown."""
        return int(self.text.split(b"\n")[4])

    def decide(self, verdict: Verdict) -> None:
        self.engine.decide(self.slot, self.generation, verdict)

    def allow(self, user: str = "ann", **said: Any) -> None:
        self.decide(Verdict(allow=True, user=user, **said))

    def deny(self, **said: Any) -> None:
        self.decide(Verdict(allow=False, **said))

    def fail(self) -> None:
        self.engine.fail(self.slot, self.generation)

    def change(self, **changes: Any) -> None:
        self.engine.change(self.slot, self.generation, **changes)

    def reply(self, status: int = 200, head: bytes = b"Content-Type: text/plain\r\n", body: bytes = b"") -> None:
        self.engine.reply(self.slot, self.generation, status, head, body)


def maybe_question(rig: Rig) -> Question | None:
    """The next question that an engine has asked already."""
    for at, (number, event) in enumerate(rig.events):
        if event[0] not in ("decide", "filter"):
            continue
        del rig.events[at]
        engine = rig.engines[number]
        if event[0] == "decide":
            return Question(engine, event[1], event[2], event[3], "", event[4], event[5], event[6])
        return Question(engine, event[1], event[2], event[3], event[4], event[5])
    return None


def question(rig: Rig) -> Question:
    found = rig.until(lambda: maybe_question(rig), f"a question; there are {rig.events}")
    assert found is not None
    return found


def decision(rig: Rig) -> Question:
    """The next question, about a credential."""
    found = question(rig)
    assert found.hook == "", found
    return found


def hooked(rig: Rig, hook: Literal["request", "response"] = "request") -> Question:
    """The next question, of that hook of a user's filter."""
    found = question(rig)
    assert found.hook == hook, found
    return found


def nothing_asked(rig: Rig) -> bool:
    rig.turn()
    return not [event for _, event in rig.events if event[0] in ("decide", "filter")]


def bearer(verdicts: Verdicts | None = None, policy: str = "sso", **settings: Any) -> AuthFilter:
    """An auth step that wants a bearer token."""
    return AuthFilter(policy, verdicts or Verdicts(policy), "bearer", challenge=CHALLENGE, **settings)


def guarded(rig: Rig, *steps: Filter, **settings: Any) -> tuple[Verdicts, Origin]:
    """A route to one origin, which answers, behind these steps (one that wants a bearer token, unless told otherwise)."""
    verdicts = Verdicts("sso")
    origin = rig.origin().serve()
    rig.serve(origin, filters=steps or [bearer(verdicts)], **settings)
    return verdicts, origin


def script(*hooks: Literal["request", "response"], policy: str = "script", **settings: Any) -> PythonFilter:
    """A user's filter that has these hooks."""
    handle = Hooks(policy)
    handle.request, handle.response = "request" in hooks, "response" in hooks
    return PythonFilter(policy, handle, **settings)


def auth_counts(verdicts: Verdicts) -> dict[str, int]:
    """What has been counted of a policy; what has not is left out."""
    return {word: count for word, count in verdicts.stats().items() if count and word not in ("entries", "capacity")}


def hook_counts(step: PythonFilter) -> dict[str, int]:
    return {word: count for word, count in step.hooks.stats().items() if count}
