"""From the policies on who may come in to what the engines take."""

from __future__ import annotations

import os
from pathlib import Path

from proxyd.config import Config, load_text
from proxyd.snapshot.build_policies import build_policy
from proxyd.snapshot.handles import Handles, HandleStore
from proxyd_ext.snapshot.spec import AccessFilter, CorsFilter, Filter, RequestFilter
from tests.support.config import config_of
from tests.support.mmdb import country, mmdb

REST = "{listen: ':1', routes: [{respond: 200, use: p}], "


def config(policy: str) -> Config:
    return config_of(f"{REST} policies: {{p: {{{policy}}}}}}}")


def built(config: Config, store: HandleStore | None = None) -> Filter:
    [filter_] = build_policy(config, Handles(store or HandleStore()), "p", config.policies["p"])
    return filter_


def test_networks() -> None:
    expected = AccessFilter(("10.0.0.0/8",), ("10.1.0.0/16",), False, "p")
    assert built(config("access: {allow: 10.0.0.0/8, deny: [10.1.0.0/16, all]}")) == expected


def test_countries_share_one_database_as_long_as_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "geo.mmdb").write_bytes(mmdb({"192.0.2.0/24": country("SE")}))
    text = f"{REST} geoip: geo.mmdb, policies: {{p: {{access: {{allow: country:SE, deny: [country:NO, 10.0.0.0/8]}}}}}}}}"
    store = HandleStore()

    def now() -> AccessFilter:
        loaded = load_text(text, folder=str(tmp_path), env={}).config
        assert loaded is not None
        access = built(loaded, store)
        assert isinstance(access, AccessFilter)
        return access

    first = now()
    assert (first.allow, first.deny, first.default_allow) == ((), ("10.0.0.0/8",), False)
    assert (first.allow_countries, first.deny_countries) == (frozenset({"SE"}), frozenset({"NO"}))
    assert first.countries is not None
    assert first.countries.country("192.0.2.1") == "SE"
    assert now().countries is first.countries
    os.utime(tmp_path / "geo.mmdb", (1, 1))
    assert now().countries is not first.countries


def test_request() -> None:
    assert built(config("request: {methods: GET, body_size: 1KiB}")) == RequestFilter("p", frozenset({"GET", "HEAD"}), 1024)


def test_cors() -> None:
    assert built(config("cors: '*'")) == CorsFilter("p", ("*",))
    text = "cors: {origins: 'https://a', methods: PUT, headers: X-A, expose: [X-B], credentials: true, max_age: 1h}"
    assert built(config(text)) == CorsFilter("p", ("https://a",), ("PUT",), ("X-A",), ("X-B",), True, 3600)
    assert built(config("cors: {origins: '*', max_age: none}")) == CorsFilter("p", ("*",), max_age_s=0)
