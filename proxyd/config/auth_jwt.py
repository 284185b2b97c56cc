"""The policy `auth: {jwt: …}`: which tokens are believed, where their keys come from, and what of them is told to servers."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, model_validator

from proxyd.config.auth_fields import IdentityField
from proxyd.config.auth_keys import WrittenSecret
from proxyd.config.base import ONE_OR_MORE, STRING, Model, Short
from proxyd.config.error_pages import PageFile
from proxyd.config.fetch_url import check_url, is_safe_url, is_url
from proxyd.config.headers import HeaderName
from proxyd.config.text import Flag, Text, as_text
from proxyd.config.units import Duration, Size, Within
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.nodes import SecretText

ANY = "any"
MAX_CLAIMS = 16  # that a verdict carries for limits and filters
Asymmetric = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448"]
Symmetric = Literal["HS256", "HS384", "HS512"]
ASYMMETRIC: tuple[Asymmetric, ...] = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448",
)  # fmt: skip
SYMMETRIC: tuple[Symmetric, ...] = ("HS256", "HS384", "HS512")
_CLAIM = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}\Z")  # what `error_description` may quote, without blanks: RFC 6750 §3
_COOKIE_OR_PARAMETER = re.compile(r"[A-Za-z0-9_.-]{1,100}\Z")
Source = Literal["bearer", "header", "query", "cookie"]


def check_claim(value: object) -> str:
    name = as_text(value)
    if not _CLAIM.match(name):
        raise fail("PXD-038", f"{shown(name)} is not the name of a claim", "like `sub`, or `realm_access.roles` for one inside of another")
    return name


def check_word(text: str) -> str:
    """A value that a token is compared with."""
    if not text or len(text) > 1000 or not text.isprintable():
        raise fail("PXD-038", f"{shown(text)} is in no token", "one line of text")
    return text


def check_place_name(value: object) -> str:
    name = as_text(value)
    if not _COOKIE_OR_PARAMETER.match(name):
        raise fail("PXD-038", f"{shown(name)} is not the name of a cookie or parameter", "letters, digits, `_`, `.` and `-`")
    return name


def check_key_file(value: object) -> PageFile:
    """Files have been read before (key_files.py), where their place in the config was known."""
    from proxyd.jose.keyset import Unusable, parse_key_file  # here: who verifies no tokens does not load the library

    if not isinstance(value, PageFile):
        raise fail("PXD-030", "expected the path of a file with keys", "like `keys: {file: /etc/proxyd/issuer.pem}`")
    try:
        parse_key_file(value.content)
    except Unusable as error:
        raise fail("PXD-081", f"the keys in `{value}` cannot be used: {error}", "a JWKS, or public keys and certificates in PEM") from None
    return value


def expand_values(value: object) -> object:
    """One thing stands for a list of one; truth is a value of claims."""
    return [value] if isinstance(value, str | int | float) else value


def expand_keys(value: object) -> object:
    return {"jwks": value} if isinstance(value, str) else value


def mark_secret(text: str) -> SecretText:
    """Whoever prints the config prints `***`, also for one that stands in the file."""
    return text if isinstance(text, SecretText) else WrittenSecret(text)


Claim = Annotated[str, PlainValidator(check_claim), WithJsonSchema(STRING)]
PlaceName = Annotated[str, PlainValidator(check_place_name), WithJsonSchema(STRING)]
Word = Annotated[Text, AfterValidator(check_word)]
Words = Annotated[tuple[Word, ...], ONE_OR_MORE]
Values = Annotated[tuple[Word, ...], Field(min_length=1), Short(expand_values, (STRING, {"type": "number"}, {"type": "boolean"}))]


class JwtKeys(Model):
    """One of `jwks`, `file` and `secret`."""

    jwks: Annotated[Text, AfterValidator(check_url)] | None = Field(
        None, description="URL of a JWKS, fetched at start and kept fresh.", examples=["https://id.example.com/.well-known/jwks.json"]
    )
    insecure: Flag = Field(False, description="`jwks` may be http beyond this machine: who is on the way can then let anybody in.")
    file: Annotated[PageFile, PlainValidator(check_key_file), WithJsonSchema(STRING)] | None = Field(
        None,
        description="A file instead, relative to this one: a JWKS, or public keys and certificates in PEM. Read when the config is loaded.",
        examples=["issuer.pem"],
    )
    secret: Annotated[Text, AfterValidator(mark_secret)] | None = Field(
        None,
        description="A secret that is shared with the issuer instead, of 32 bytes or more; for HS256, HS384 and HS512 alone.",
        examples=["${file:/run/secrets/jwt}"],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in ("jwks", "file", "secret") if getattr(self, name) is not None]
        if not given:
            raise fail("PXD-022", "`keys` says not where they are", "add `jwks: https://…`, `file: PATH` or `secret: ${file:PATH}`")
        if len(given) > 1:
            raise fail("PXD-024", f"`{given[0]}` and `{given[1]}` exclude one another", "keys have one source", at=(given[1],), key=True)
        if self.jwks is not None and not is_safe_url(self.jwks, insecure=self.insecure):
            help = "write https; http is for this machine alone, unless `insecure: true` stands beside it"
            raise fail("PXD-081", "keys that are fetched by http can be replaced by anybody on the way", help, at=("jwks",))
        if self.secret is not None:
            self._check_secret(self.secret)
        return self

    @staticmethod
    def _check_secret(secret: str) -> None:
        from proxyd.jose.keyset import Unusable, key_of_secret  # here: who verifies no tokens does not load the library

        try:
            key_of_secret(secret.encode())
        except (Unusable, UnicodeEncodeError) as error:
            reason = str(error) if isinstance(error, Unusable) else "it is not valid Unicode"
            help = "make one with: openssl rand -base64 48; public keys stand in `file`"
            raise fail("PXD-081", f"the secret cannot be used: {reason}", help, at=("secret",)) from None


class Jwt(Model):
    """Who may come shows a token that an issuer has signed."""

    issuer: Words = Field(
        min_length=1,
        description=(
            "Whose tokens are believed, as their `iss` spells it; `any`: whoever has the keys. Without `keys`, an https URL, under which "
            "`/.well-known/openid-configuration` tells where they are."
        ),
        examples=["https://id.example.com"],
    )
    audience: Words = Field(
        min_length=1,
        description="What tokens must be meant for: one of these has to be in `aud`. `any`: tokens for others, too.",
        examples=["shop"],
    )
    keys: Annotated[JwtKeys, Short(expand_keys, (STRING,))] | None = Field(
        None, description="Where the keys are, in short the URL of a JWKS; unset: where the issuer says.", examples=[{"file": "issuer.pem"}]
    )
    algorithms: Annotated[tuple[Asymmetric | Symmetric, ...], ONE_OR_MORE] = Field(
        (),
        description="Algorithms that are accepted; unset: all that the keys can do. HS256, HS384 and HS512 take a `secret`, `none` nobody.",
        examples=[["RS256", "ES256"]],
    )
    types: Words = Field(
        ("JWT", "at+jwt"),
        min_length=1,
        description="Types (`typ`) of tokens that are accepted; one without a type is a JWT. `at+jwt` alone: access tokens of RFC 9068.",
    )
    skew: Annotated[Duration, Within("0s", "10m")] = Field(
        Duration("30s"), description="How far the clocks of issuers may be off: so much longer, and earlier, a token is good."
    )
    require_exp: Flag = Field(True, description="Tokens that never expire are refused.")
    require: dict[Claim, Values] = Field(
        {},
        description="Claims that a token must have: of `scope` all words, of any other claim one of the values. Who lacks one gets 403.",
        examples=[{"scope": ["shop.read"], "role": ["clerk", "manager"]}],
    )
    user: Claim = Field("sub", description="Claim that names the user: in logs, for limits by `user`, and for Python filters.")
    forward: dict[Claim, IdentityField] = Field(
        {},
        description="Claims that servers are told, each in a field of that name. Clients cannot set such a field on any route.",
        examples=[{"sub": "X-User", "realm_access.roles": "X-Roles"}],
    )
    claims: Annotated[tuple[Claim, ...], ONE_OR_MORE] = Field(
        (),
        description="Further claims that Python filters are told, beside those that `forward` and keys of limits name.",
        examples=[["tenant"]],
    )
    header: HeaderName | None = Field(
        None, description="Field that holds the token, bare; unset: `Authorization: Bearer TOKEN`.", examples=["X-Access-Token"]
    )
    cookie: PlaceName | None = Field(None, description="Cookie that holds it instead.", examples=["session"])
    query: PlaceName | None = Field(
        None, description="Query parameter that holds it instead; URLs stand in histories and others' logs.", examples=["access_token"]
    )
    hide: Flag = Field(False, description="Servers do not get to see the token (where it is in a field).")
    max_token: Annotated[Size, Within("256B", "64KiB")] = Field(Size("8KiB"), description="Longer tokens are refused unread.")
    refresh: Annotated[Duration, Within("10s", "1d")] = Field(
        Duration("10m"), description="How often a JWKS is fetched anew; the server's `max-age` may ask for less, down to a minute."
    )
    stale: Annotated[Duration, Within("1m", "30d")] = Field(
        Duration("1d"), description="How long keys are used on while their JWKS cannot be fetched; then requests get 503."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("issuer", "audience"):
            words: tuple[str, ...] = getattr(self, name)
            if ANY in words and len(words) > 1:
                raise fail("PXD-024", f"`any` in `{name}` makes the others needless", "name them, or write `any` alone", at=(name,))
        places = [name for name in ("header", "cookie", "query") if getattr(self, name) is not None]
        if len(places) > 1:
            message = f"`{places[0]}` and `{places[1]}` exclude one another"
            raise fail("PXD-024", message, "a token is in one place", at=(places[1],), key=True)
        if (self.header or "").lower() == "authorization":
            message = "`Authorization: Bearer` is where tokens are looked for anyway"
            raise fail("PXD-024", message, "leave `header` out", at=("header",), key=True)
        if self.keys is None:
            self._check_discovery()
        self._check_algorithms()
        fields = [name.lower() for name in self.forward.values()]
        for claim, name in self.forward.items():
            if fields.count(name.lower()) > 1:
                raise fail("PXD-025", f"two claims are forwarded as `{name}`", "each has a field of its own", at=("forward", claim))
        if len(self.told) > MAX_CLAIMS:
            raise fail("PXD-033", f"{len(self.told)} claims are told on", f"allowed: {MAX_CLAIMS}, `forward` and `claims` together")
        return self

    def _check_discovery(self) -> None:
        for number, issuer in enumerate(self.issuer):
            if issuer == ANY:
                raise fail("PXD-022", "any issuer is believed, and there are no `keys` to tell by", "add `keys`, or name the issuer")
            if not is_url(issuer):
                help = "add `keys: {jwks: https://…}`, or `file`, or `secret`"
                raise fail("PXD-022", f"the issuer {shown(issuer)} is no URL, so it cannot tell its keys", help, at=("issuer", number))
            if not is_safe_url(issuer):
                help = "write https, or add `keys`; http is for this machine alone"
                raise fail("PXD-081", "keys that are fetched by http can be replaced by anybody on the way", help, at=("issuer", number))

    def _check_algorithms(self) -> None:
        """An algorithm of the wrong family is what key confusion is made of (RFC 8725 §2.1)."""
        secret = self.keys.secret if self.keys is not None else None
        for number, name in enumerate(self.algorithms):
            if name not in (SYMMETRIC if secret is not None else ASYMMETRIC):
                what = "takes a `secret`, and there are public keys" if secret is None else "takes public keys, and there is a `secret`"
                help = f"allowed: {', '.join(ASYMMETRIC if secret is None else SYMMETRIC)}"
                raise fail("PXD-081", f"the algorithm {name} {what}", help, at=("algorithms", number))
            if secret is not None and (least := _least_secret(name)) > len(secret.encode()):
                help = f"RFC 7518 wants {least} bytes or more"
                raise fail("PXD-081", f"the secret is too short for {name}", help, at=("algorithms", number))

    # ------------------------------------------------------------------ what others read of it
    @property
    def issuers(self) -> tuple[str, ...]:
        """Empty: any."""
        return () if self.issuer == (ANY,) else self.issuer

    @property
    def audiences(self) -> tuple[str, ...]:
        """Empty: any."""
        return () if self.audience == (ANY,) else self.audience

    @property
    def accepted_algorithms(self) -> tuple[str, ...]:
        """Which of them a key can do, it knows itself."""
        if self.algorithms:
            return self.algorithms
        return SYMMETRIC if self.keys is not None and self.keys.secret is not None else ASYMMETRIC

    @property
    def told(self) -> tuple[str, ...]:
        """Claims that Python filters see."""
        return tuple(dict.fromkeys((*self.claims, *self.forward)))

    @property
    def source(self) -> tuple[Source, str]:
        """Where the token is, as the engines' AuthFilter names it: `source` and `name`."""
        places: tuple[tuple[Source, str | None], ...] = (("header", self.header), ("cookie", self.cookie), ("query", self.query))
        return next(((place, name) for place, name in places if name is not None), ("bearer", ""))

    def challenge(self, realm: str) -> str:
        """The value of WWW-Authenticate for who brings no token (RFC 6750 §3)."""
        return f'Bearer realm="{realm}"'

    @property
    def definition(self) -> Hashable:
        """Changes with everything that decides about a token, contents of files and secrets included."""
        return _frozen(self)


def _least_secret(algorithm: str) -> int:
    return int(algorithm[2:]) // 8  # RFC 7518 §3.2: as long as the hash


def _frozen(value: Any) -> Hashable:
    if isinstance(value, Model):
        return tuple(_frozen(getattr(value, name)) for name in type(value).model_fields)
    if isinstance(value, dict):
        return tuple((name, _frozen(entry)) for name, entry in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, tuple) else value
