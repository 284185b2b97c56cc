from __future__ import annotations

from typing import Any

import pytest
import yaml

from proxyd.config import Config, load_text
from proxyd.config.canonical import canonical, canonical_text, config_hash, dump
from proxyd.config.model import Limits
from proxyd.diagnostics.compose import compose
from proxyd.diagnostics.diagnostic import Source
from proxyd.diagnostics.marked import mark


def config(text: str, **env: str) -> Config:
    loaded = load_text(text, env=env).config
    assert loaded is not None
    return loaded


SHORT = "listen: :8080\nto: [127.0.0.1:9001]\n"
LONG = """\
routes:
  - name: default
    to: {default: 100}
listeners: {default: {bind: [":8080"]}}
upstreams:
  default:
    balance: {kind: round_robin}
    servers: [{weight: 1, address: "127.0.0.1:9001"}]
    timeout: {connect: 3000ms}
"""


def test_short_and_long_forms_are_one_config() -> None:
    assert config(SHORT) == config(LONG)
    assert config_hash(config(SHORT)) == config_hash(config(LONG))


def test_every_shorthand_is_written_out() -> None:
    shown: dict[str, Any] = canonical(config(SHORT + "log: {access: none}\n"))
    assert shown["listeners"] == {"default": {"bind": [":8080"], "limits": canonical(Limits())}}
    assert canonical(Limits())["header_size"] == "16KiB"
    assert canonical(Limits())["body_size"] == "none"
    assert shown["log"] == {"level": "info", "access": "none"}
    assert "listen" not in shown
    assert shown["upstreams"]["default"]["health"] == {
        "active": "none",
        "passive": {"consecutive_5xx": 5, "eject": "30s", "max_ejected": "50%"},
    }


def test_the_text_is_yaml_for_the_same() -> None:
    loaded = config(SHORT)
    assert yaml.safe_load(canonical_text(loaded)) == canonical(loaded)
    assert load_text(canonical_text(loaded), env={}).config == loaded


def test_what_matters_changes_the_hash() -> None:
    base = "listen: :1\nroutes: [{match: /a, respond: 200}, {match: /b, respond: 200}]\nupstreams: {a: 'a:1', b: 'b:1'}\n"
    same = "listen: [':1']\nupstreams: {b: 'b:1', a: 'a:1'} # x\nroutes:\n- {respond: {status: 200}, match: /a}\n"
    same += "- {match: {path: /b}, respond: 200}\n"
    other_order = "listen: :1\nroutes: [{match: /b, respond: 200}, {match: /a, respond: 200}]\nupstreams: {a: 'a:1', b: 'b:1'}\n"
    assert config_hash(config(base)) == config_hash(config(same)) != config_hash(config(other_order))
    assert len(config_hash(config(base))) == 12


SECRET = "listen: :1\nroutes: [{respond: {headers: {X-Key: 'Bearer ${env:TOKEN}'}}}]\n"


def test_secrets_are_hidden_and_still_count() -> None:
    one, two = config(SECRET, TOKEN="hunter2"), config(SECRET, TOKEN="hunter3")
    assert "hunter2" not in canonical_text(one)
    assert "X-Key: '***'" in canonical_text(one)
    assert "hunter2" in canonical_text(one, secrets=True)
    assert config_hash(one) != config_hash(two)


def test_line_ends_of_unicode_survive() -> None:
    loaded = config('listen: :1\nroutes: [{respond: {body: "a\\x85b\\u2028c é\\n"}}]\n')
    assert load_text(canonical_text(loaded), env={}).config == loaded


@pytest.mark.parametrize("text", ["1e5", "0E0", "0o17", "0x1f", "1.10", "true", "null", "~", "on", "22:30", "1_000", ".5", "a: b", ""])
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    root, found = compose(Source("x", dump({"a": text})))
    assert root is not None
    assert (mark(root, []), found) == ({"a": text}, [])
