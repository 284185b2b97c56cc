"""What the claims of a proved token must say, and what of them is told to servers, limits and filters. Pure; the time is passed in.

A claim is named as it stands in the token; a name with dots that is no claim leads into objects: `realm_access.roles`. Whatever a token
lacks or writes strangely is refused, never guessed: who asked for a claim to be forwarded relies on it.
"""
from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

MAX_VALUE = 4096            # bytes of one claim that is told on
MAX_LINES = 8192            # bytes of all of them: a verdict holds no more
MAX_USER = 256              # bytes


class Refused(Exception):
    """The token is no good for this policy. The message is a fixed sentence for `error_description`: nothing of the token stands in it.

    ttl: seconds for which that is remembered at most; None: as long as refusals are. `scope`: what would have been enough.
    """

    def __init__(
        self, description: str, *, error: Literal["invalid_token", "insufficient_scope"] = "invalid_token", scope: str = "",
        ttl: float | None = None,
    ) -> None:
        super().__init__(description)
        self.error, self.scope, self.ttl = error, scope, ttl

    @property
    def status(self) -> int:
        """RFC 6750 section 3.1."""
        return 401 if self.error == "invalid_token" else 403


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """`issuers`, `audiences`: None is any. `scope`: all of these. `require`: claim → one of these values. `forward`: claim → field."""

    issuers: frozenset[str] | None
    audiences: frozenset[str] | None
    skew_s: float = 30.0
    require_exp: bool = True
    scope: tuple[str, ...] = ()
    require: tuple[tuple[str, tuple[str, ...]], ...] = ()
    forward: tuple[tuple[str, str], ...] = ()
    attributes: tuple[str, ...] = ()
    user: str = "sub"


def check_claims(rules: ClaimRules, claims: Mapping[str, Any], now: float) -> float | None:
    """Until when (seconds since the epoch, skew included) the token holds; None: for ever. Refused."""
    issuer = claims.get("iss")
    if rules.issuers is not None and not (isinstance(issuer, str) and issuer in rules.issuers):
        raise Refused("the token is of another issuer")
    if rules.audiences is not None and not rules.audiences & _audience(claims):
        raise Refused("the token is for somebody else")
    until = _check_times(rules, claims, now)
    if missing := [word for word in rules.scope if word not in _scope(claims)]:
        raise Refused(f"the token has not the scope {missing[0]}", error="insufficient_scope", scope=" ".join(rules.scope))
    for name, values in rules.require:
        if not set(values) & set(_listed(find_claim(claims, name))):
            raise Refused(f"the claim {name} is not what it has to be", error="insufficient_scope")
    return until


def _check_times(rules: ClaimRules, claims: Mapping[str, Any], now: float) -> float | None:
    """RFC 7519 sections 4.1.4 to 4.1.6."""
    expires, begins, issued = (_date(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None and rules.require_exp:
        raise Refused("the token never expires")
    if expires is not None and now >= expires + rules.skew_s:
        raise Refused("the token has expired")
    for date, what in ((begins, "the token is not valid yet"), (issued, "the token is from the future")):
        if date is not None and now + rules.skew_s < date:
            raise Refused(what, ttl=date - rules.skew_s - now)
    return None if expires is None else expires + rules.skew_s


def _date(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15 or not math.isfinite(value):
        raise Refused(f"the claim {name} is not a time")
    return float(value)


def _audience(claims: Mapping[str, Any]) -> set[str]:
    value = claims.get("aud")
    return {word for word in (value if isinstance(value, list) else [value]) if isinstance(word, str)}


def _scope(claims: Mapping[str, Any]) -> set[str]:
    """RFC 8693 section 4.2: one text with blanks between; some issuers write a list, or `scp`."""
    value = claims.get("scope", claims.get("scp"))
    words = value.split(" ") if isinstance(value, str) else value
    return {word for word in words if isinstance(word, str)} if isinstance(words, list) else set()


# ------------------------------------------------------------------------------------------------ what is told on
def user_of(rules: ClaimRules, claims: Mapping[str, Any]) -> str:
    """Empty where the token names nobody."""
    text = _told(rules.user, find_claim(claims, rules.user))
    if len(text.encode()) > MAX_USER:
        raise Refused(f"the claim {rules.user} is too long")
    return text


def forward_lines(rules: ClaimRules, claims: Mapping[str, Any]) -> bytes:
    """Whole field lines, in UTF-8, for the request that goes to the server; a claim that is not there (or empty) gives none."""
    lines = []
    for name, field in rules.forward:
        value = _told(name, find_claim(claims, name)).encode()
        if value:
            lines.append(field.encode() + b": " + value + b"\r\n")
    joined = b"".join(lines)
    if len(joined) > MAX_LINES:
        raise Refused("the claims that are to be forwarded are too long")
    return joined


def attributes_of(rules: ClaimRules, claims: Mapping[str, Any]) -> dict[str, str]:
    found = ((name, _told(name, find_claim(claims, name))) for name in rules.attributes)
    return {name: value for name, value in found if value}


def find_claim(claims: Mapping[str, Any], name: str) -> object:
    """The claim of exactly that name, or what the dots in it lead to; None where there is none."""
    if name in claims:
        return claims[name]
    here: object = claims
    for step in name.split("."):
        if not isinstance(here, Mapping) or step not in here:
            return None
        here = here[step]
    return here


def _listed(value: object) -> list[str]:
    """The texts that a claim is made of, a number or a truth as JSON writes it; [] for what is no text, and for what is not there."""
    values = value if isinstance(value, list) else [value]
    return [_text(item) for item in values if isinstance(item, str | int | float)]


def _text(item: str | float) -> str:
    return item if isinstance(item, str) else json.dumps(item)


def _told(name: str, value: object) -> str:
    """A claim as one line. A list is joined by commas, so no item may have one: two items would be told from one by nobody."""
    given = len(value) if isinstance(value, list) else int(value is not None)
    texts = _listed(value)
    if len(texts) != given:
        raise Refused(f"the claim {name} cannot be told on: it is neither text nor a list of texts")
    if isinstance(value, list) and any("," in text for text in texts):
        raise Refused(f"the claim {name} cannot be told on: an item of the list has a comma")
    # Receivers of a field take blanks off its ends: " admin" must not become somebody else on the way.
    if any(text != text.strip() for text in texts):
        raise Refused(f"the claim {name} cannot be told on: it begins or ends with a blank")
    line = ",".join(texts)
    # RFC 9110 section 5.5; lone surrogates are no text either.
    if any(ord(char) < 0x20 or ord(char) == 0x7F or 0xD800 <= ord(char) < 0xE000 for char in line):
        raise Refused(f"the claim {name} cannot be told on: it has control characters")
    if len(line.encode()) > MAX_VALUE:
        raise Refused(f"the claim {name} is too long")
    return line
