from __future__ import annotations

from proxyd.config.explain import explain
from proxyd.config.options import Option, options


def at(path: str) -> Option:
    return explain(path)[0]


def test_paths_are_unique_and_in_the_order_of_the_model() -> None:
    assert len(options()) == len({(option.path, option.where) for option in options()})
    paths = [option.path for option in options()]
    assert paths[0] == "version"
    assert paths.index("upstreams") < paths.index("upstreams.NAME.servers[].address") < paths.index("upstreams.NAME.pool.max")


def test_types_are_words() -> None:
    expected = {
        "version": "1",
        "runtime.threads": "auto | whole number",
        "runtime.shutdown.drain": "duration",
        "listeners.NAME.bind": "list of address to listen on",
        "listeners.NAME.limits.min_body_rate": "rate",
        "listeners.NAME.limits.per_client": "whole number or `none`",
        "upstreams.NAME.health.active.tcp": "mapping",
        "upstreams.NAME.balance.kind": "round_robin | least_conn | p2c | ewma | random | first | hash | maglev",
        "upstreams.NAME.balance.hash": "key",
        "upstreams.NAME.health.active.expect": "statuses",
        "upstreams.NAME.health.passive.max_ejected": "percentage",
        "routes[].use": "list of name",
        "routes[].match.path": "path pattern or `{regex: …}`",
        "policies.NAME.access.deny": "list of network, `country:XX` or `all`",
        "admin.bind": "list of auto | address to listen on",
        "upstreams.NAME.servers[].address": "address",
        "routes[].to": "mapping of names, each to: whole number",
        "log.access.to": "text",
        "routes[].cache.key": "list of part of a key",
        "routes[].cache.tags": "list of `header:NAME`",
        "routes[].cache.ttl.min": "duration",
        "routes[].cache.negative.statuses": "statuses",
        "cache.shared.redis": "URL of a Redis",
        "cache.tiers": "list of memory | shared",
        "cache.memory.snapshot.file": "path of a file",
        "policies.NAME.compress.types": "list of media type",
        "listeners.NAME.mode": "http | cache | tcp | udp | tls_passthrough",
    }
    assert {path: at(path).type for path in expected} == expected


def test_facts_of_one_option() -> None:
    assert at("upstreams.api.health.active.interval").as_dict() == {
        "path": "upstreams.NAME.health.active[].interval",
        "type": "duration",
        "doc": "From one check of a server to the next.",
        "default": "5s",
        "bounds": "100ms to 1d",
        "unit": "ms, s, m, h, d",
    }
    assert at("listeners.web.limits.body_size").bounds == "1B to 8TiB, or none"
    assert at("upstreams.app.servers").required
    assert at("upstreams.app.health").short_forms == ["`none`", "text", "a mapping"]
    assert at("upstreams.app.servers").children == ["address", "weight", "backup", "priority", "zone", "max_requests"]
    assert at("listen").is_short_form


def test_defaults_are_as_in_the_file() -> None:
    assert at("upstreams.app.balance").default == {"kind": "round_robin"}
    assert at("admin.bind").default == ["auto"]
    assert at("upstreams.app.health.fail_open").default is False
    assert at("upstreams.app.retry.backoff.factor").default == 2
    assert at("listeners.web.limits.body_size").default == "none"
    assert at("upstreams.app.servers").default is None
