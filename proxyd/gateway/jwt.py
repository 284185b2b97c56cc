"""`auth: {jwt: …}`: who shows a token is whom it says, if a key of its issuer proves it and it is meant for here and now.

A decision takes one signature, 0.1 ms to 1 ms, so it is made on the event loop; one in a turn of it, so that a flood of made-up tokens
delays health checks and everything else there by no more than that. Refusals are remembered for a while, too, so that a bad token costs one
check; what may soon be different (a token that is not valid yet, a key that is not known yet) is not remembered beyond that.

    no token at all                          401, the challenge alone (the engine answers)
    malformed, alg none, alg not allowed, signature wrong, expired, not yet valid, issuer, audience, type, unknown key
                                             401 invalid_token
    scope or claim missing                   403 insufficient_scope
    no keys to check it with                 503 (AuthUnavailable)
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxyd.clock import Clock
from proxyd.config.auth_jwt import Jwt
from proxyd.config.jwt_claims import claims_wanted
from proxyd.gateway.authority import DENIED_TTL, Asked, Decided
from proxyd.gateway.claims import ClaimRules, Refused, attributes_of, check_claims, forward_lines, user_of
from proxyd.gateway.fetch import Fetch, HttpFetch
from proxyd.gateway.jwks import FixedKeys, KeySource, Place, RemoteKeys, TooSoon
from proxyd.gateway.parts import nothing
from proxyd.jose.keyset import KeySet, key_of_secret, parse_key_file
from proxyd.jose.token import Token, TokenError, parse_token, verify
from proxyd.snapshot.build_headers import field_lines
from proxyd.tasks import Tasks
from proxyd_ext.auth.verdict import Verdict

if TYPE_CHECKING:
    from proxyd.gateway.parts import Parts
    from proxyd.gateway.views import KeysView


@dataclass(frozen=True, slots=True)
class JwtRules:
    claims: ClaimRules
    algorithms: frozenset[str]
    types: frozenset[str]
    max_token: int
    cache_s: float          # a verdict is remembered no longer
    challenge: str          # `Bearer realm="…"`


class JwtAuthority:
    """`sources`: issuer → where its keys are; "" stands for all other issuers. A key proves tokens of its own issuer only: each that is
    trusted may otherwise speak in the name of the others."""

    __slots__ = ("_clock", "_rules", "_sources", "_turn")

    def __init__(self, rules: JwtRules, sources: dict[str, KeySource], clock: Clock) -> None:
        self._rules, self._sources, self._clock = rules, sources, clock
        self._turn = asyncio.Lock()

    async def decide(self, asked: Asked) -> Decided:
        try:
            return await self._allowed(asked.credential)
        except TokenError as error:
            return self._denied(Refused(str(error)))
        except Refused as refused:
            return self._denied(refused)

    async def close(self) -> None:
        for source in self._each():
            await source.close()

    def views(self) -> tuple[KeysView, ...]:
        return tuple(source.view() for source in self._each() if isinstance(source, RemoteKeys))

    def _each(self) -> Sequence[KeySource]:
        return list({id(source): source for source in self._sources.values()}.values())

    async def _allowed(self, credential: str) -> Decided:
        rules = self._rules
        token = parse_token(credential, rules.max_token)
        if token.algorithm not in rules.algorithms:
            raise Refused("the algorithm of the token is not accepted")
        if (token.typ or "jwt") not in rules.types:
            raise Refused("the token is of another type")
        claims = await self._proved(token)
        now = self._clock.wall()
        until = check_claims(rules.claims, claims, now)
        verdict = Verdict(
            allow=True, user=user_of(rules.claims, claims), lines=forward_lines(rules.claims, claims),
            attributes=attributes_of(rules.claims, claims),
        )
        return Decided(verdict, rules.cache_s if until is None else max(0.0, min(until - now, rules.cache_s)))

    async def _proved(self, token: Token) -> dict[str, Any]:
        source = self._source_of(token)
        keys = await source.keys()
        claims = await self._verified(token, keys)
        if claims is None and not keys.knows(token.kid):
            try:
                newer = await source.newer(keys)
            except TooSoon as soon:
                raise Refused("the key of the token is not known", ttl=soon.retry_s) from soon
            if newer is not keys:
                keys = newer
                claims = await self._verified(token, keys)
        if claims is None:
            known = bool(keys.candidates(token.algorithm, token.kid))
            raise Refused("the signature of the token is wrong" if known else "the key of the token is not known")
        return claims

    async def _verified(self, token: Token, keys: KeySet) -> dict[str, Any] | None:
        """One in a turn of the loop, whoever else wants to."""
        async with self._turn:
            claims = verify(token, keys)
            await asyncio.sleep(0)
        return claims

    def _source_of(self, token: Token) -> KeySource:
        if "" in self._sources:
            return self._sources[""]
        issuer = token.unverified().get("iss")
        if not isinstance(issuer, str) or issuer not in self._sources:
            raise Refused("the token is of another issuer")
        return self._sources[issuer]

    def _denied(self, refused: Refused) -> Decided:
        """RFC 6750 section 3."""
        line = f'{self._rules.challenge}, error="{refused.error}", error_description="{_quotable(str(refused))}"'
        if refused.scope:
            line += f', scope="{_quotable(refused.scope)}"'
        verdict = Verdict(allow=False, status=refused.status, head=field_lines({"WWW-Authenticate": line}))
        return Decided(verdict, DENIED_TTL if refused.ttl is None else max(0.0, min(refused.ttl, DENIED_TTL)))


def build(parts: Parts) -> JwtAuthority:
    jwt = parts.auth.jwt
    assert jwt is not None
    attributes = claims_wanted(parts.config, parts.policy, jwt)
    return build_jwt(jwt, attributes, parts.tasks, parts.clock, cache_s=parts.auth.ttl_s, realm=parts.policy, forget=parts.forget)


def build_jwt(
    jwt: Jwt, attributes: Sequence[str], tasks: Tasks, clock: Clock, *, cache_s: float, realm: str,
    new_fetch: Callable[[], Fetch] = HttpFetch, forget: Callable[[], None] = nothing,
) -> JwtAuthority:
    """`attributes`: claims that verdicts carry for limits and filters. `forget` is called when an issuer drops a key. Fetching of keys
    begins here; nothing waits for it."""
    required = dict(jwt.require)
    scope = required.pop("scope", ())
    rules = JwtRules(
        ClaimRules(
            issuers=frozenset(jwt.issuers) or None, audiences=frozenset(jwt.audiences) or None, skew_s=jwt.skew.seconds,
            require_exp=jwt.require_exp, scope=scope, require=tuple(required.items()), forward=tuple(jwt.forward.items()),
            attributes=tuple(attributes), user=jwt.user,
        ),
        frozenset(jwt.accepted_algorithms), frozenset(typ.lower().removeprefix("application/") for typ in jwt.types), int(jwt.max_token),
        cache_s, jwt.challenge(realm),
    )

    def remote(place: Place) -> RemoteKeys:
        times = {"refresh_s": jwt.refresh.seconds, "stale_s": jwt.stale.seconds}
        source = RemoteKeys(place, new_fetch(), tasks, clock, **times, on_dropped=forget)
        source.start()
        return source

    keys = jwt.keys
    if keys is None:
        return JwtAuthority(rules, {issuer: remote(Place(issuer=issuer)) for issuer in jwt.issuers}, clock)
    if keys.jwks is not None:
        return JwtAuthority(rules, {"": remote(Place(jwks=keys.jwks))}, clock)
    if keys.file is not None:
        return JwtAuthority(rules, {"": FixedKeys(parse_key_file(keys.file.content))}, clock)
    return JwtAuthority(rules, {"": FixedKeys(KeySet((key_of_secret((keys.secret or "").encode()),)))}, clock)


def _quotable(text: str) -> str:
    """RFC 6750 section 3: what stands in the attributes. (Names of claims and scopes come from the config.)"""
    return "".join(char if " " <= char <= "~" and char not in '"\\' else "?" for char in text)
