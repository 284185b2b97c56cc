"""`auth: {jwt: …}` as the engines take it (build_auth.py); the other kinds: test_build_auth.py."""
from __future__ import annotations

from pathlib import Path

from proxyd.config import load
from proxyd.snapshot.build_auth import build_auth, identity_fields
from proxyd.snapshot.handles import Handles, HandleStore
from proxyd_ext.snapshot.spec import AuthFilter
from tests.support.config import config_of
from tests.support.tokens import ec_key, pem, rsa_key

JWT = "issuer: 'https://id.example.com', audience: shop"
MORE = "by-org: {rate_limit: {rate: 1/s, burst: 1, key: jwt.org}}"


def built(store: HandleStore, text: str) -> AuthFilter:
    config = config_of(text)
    auth = config.policies["sso"].auth
    assert auth is not None
    [filter_] = build_auth(config, Handles(store), "sso", auth)
    assert isinstance(filter_, AuthFilter)
    return filter_


def text(options: str = "", *, use: str = "sso", auth: str = "", more: str = MORE) -> str:
    jwt = f"jwt: {{{JWT}{options and ', '}{options}}}{auth and ', '}{auth}"
    return f"{{listen: ':1', routes: [{{to: 'a:1', use: [{use}]}}], policies: {{sso: {{auth: {{{jwt}}}}}, {more}}}}}"


def test_the_filter() -> None:
    filter_ = built(HandleStore(), text())
    assert (filter_.policy, filter_.source, filter_.name, filter_.hide, filter_.optional) == ("sso", "bearer", "", False, False)
    assert filter_.challenge == b'WWW-Authenticate: Bearer realm="sso"\r\n'
    other = built(HandleStore(), text("cookie: session, hide: true", auth="optional: true, timeout: 1s"))
    assert (other.source, other.name, other.hide, other.optional, other.timeout_ms) == ("cookie", "session", True, True, 1000)


def test_what_is_remembered_is_kept_while_it_would_be_decided_alike() -> None:
    store = HandleStore()
    first = built(store, text()).verdicts
    assert built(store, text()).verdicts is first
    for other in (text("skew: 1s"), text("require: {scope: a}"), text(use="sso, by-org"), text(f"keys: {{secret: {'s' * 32}}}")):
        assert built(store, other).verdicts is not first


def test_keys_in_a_file_are_part_of_it(tmp_path: Path) -> None:
    store, main, file = HandleStore(), tmp_path / "proxyd.yaml", tmp_path / "issuer.pem"
    main.write_text(text("keys: {file: issuer.pem}"))
    found = []
    for key in (ec_key(), ec_key(), rsa_key()):
        file.write_bytes(pem(key))
        config = load(main, env={}).config
        assert config is not None
        auth = config.policies["sso"].auth
        assert auth is not None
        found += [filter_.verdicts for filter_ in build_auth(config, Handles(store), "sso", auth) if isinstance(filter_, AuthFilter)]
    assert found[0] is found[1]
    assert found[0] is not found[2]


def test_clients_cannot_set_what_is_forwarded() -> None:
    removed = identity_fields(config_of(text("forward: {sub: X-User, email: X-Mail}")))
    assert removed is not None
    assert set(removed.request_remove) == {"x-user", "x_user", "x-mail", "x_mail"}
