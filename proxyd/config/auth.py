"""The policy `auth`: one of its kinds, and how verdicts are remembered."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from proxyd.config.auth_basic import BasicField
from proxyd.config.auth_forward import ForwardAuthField
from proxyd.config.auth_jwt import Jwt
from proxyd.config.auth_keys import ApiKeysField
from proxyd.config.base import Model
from proxyd.config.text import Flag, Integer
from proxyd.config.units import Duration, Within
from proxyd.diagnostics.fail import fail

AuthKind = Literal["jwt", "basic", "api_key", "forward"]
KINDS: tuple[AuthKind, ...] = get_args(AuthKind)
# Whoever holds a file or a token may be remembered for long: a reload forgets. What a service says is its own to bound.
_REMEMBERED = {"jwt": Duration("1h"), "basic": Duration("10m"), "api_key": Duration("1h"), "forward": Duration(0)}


class Auth(Model):
    jwt: Jwt | None = Field(None, description="Tokens that somebody else has signed.")
    basic: BasicField | None = Field(None, description="Names and passwords; in short an htpasswd file.", examples=[{"file": ".htpasswd"}])
    api_key: ApiKeysField | None = Field(
        None, description="Keys of your own making; in short their file.", examples=[{"file": "keys.yaml"}]
    )
    forward: ForwardAuthField | None = Field(
        None, description="Ask a service; in short its URL.", examples=[{"url": "http://127.0.0.1:9100/check"}]
    )
    optional: Flag = Field(False, description="Requests without a credential pass, without a user. A wrong one is refused all the same.")
    cache: Annotated[Duration, Within("1s", "1d", off=True)] | None = Field(
        None,
        description=(
            "How long it is remembered that a credential is good; `none`: each request asks anew. Unset: `basic` 10m, `api_key` 1h, "
            "`jwt` 1h and at most until the token expires, `forward` as long as its answers say with `Cache-Control: max-age`."
        ),
        examples=["5m"],
    )
    timeout: Annotated[Duration, Within("10ms", "60s")] = Field(
        Duration("5s"), description="The longest that a request waits for a verdict; then it gets 503."
    )
    remembered: Annotated[Integer, Field(ge=100, le=10_000_000)] = Field(
        100_000, description="So many credentials are remembered at most; about 200 bytes each."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if not kinds:
            raise fail("PXD-022", "`auth` has no kind", f"add one of: {', '.join(KINDS)}")
        if len(kinds) > 1:
            help = "a route may use two policies, but both must agree then; a client has one of them"
            raise fail("PXD-024", f"`{kinds[0]}` and `{kinds[1]}` exclude one another", help, at=(kinds[1],), key=True)
        return self

    @property
    def kind(self) -> AuthKind:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def ttl_s(self) -> float:
        """How long an allowing verdict may be remembered, where nothing else bounds it. Of `forward` without `cache` 0: its answers say."""
        return (_REMEMBERED[self.kind] if self.cache is None else self.cache).seconds


AuthField = Auth
