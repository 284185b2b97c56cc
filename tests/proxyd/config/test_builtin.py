from __future__ import annotations

import pytest

from proxyd.config import load_text
from proxyd.config.builtin import BUILT_IN
from proxyd.config.canonical import canonical
from tests.support.config import config_of


def test_per_ip_is_there_without_being_written() -> None:
    config = config_of("{listen: ':1', upstreams: {a: 'a:1'}, routes: [{to: a, use: [per-ip]}]}")
    ((name, policy),) = config.policies_of(config.routes[0])
    assert (name, policy) == ("per-ip", BUILT_IN["per-ip"])
    assert policy.rate_limit is not None
    assert (str(policy.rate_limit.rate), policy.rate_limit.burst, policy.rate_limit.key) == ("20/s", 40, ("client.ip",))
    assert policy.rate_limit.on_limit.status == 429
    assert config.policies == {}


def test_public_lets_everybody_pass() -> None:
    config = config_of("{listen: ':1', upstreams: {a: 'a:1'}, routes: [{to: a, use: public}], defaults: {access: deny}}")
    ((_, policy),) = config.policies_of(config.routes[0])
    assert policy.access is not None
    assert policy.access.default_allow


def test_one_of_the_file_takes_its_place() -> None:
    config = config_of(
        "{listen: ':1', upstreams: {a: 'a:1'}, routes: [{to: a, use: per-ip}], policies: {per-ip: {rate_limit: {rate: 1/m}}}}"
    )
    ((_, policy),) = config.policies_of(config.routes[0])
    assert policy.rate_limit is not None
    assert str(policy.rate_limit.rate) == "1/m"


def test_nobody_is_told_that_they_are_unused() -> None:
    assert load_text("listen: :1\nto: 'a:1'\n").diagnostics == []


def test_a_misspelt_one_is_guessed() -> None:
    [found] = load_text("{listen: ':1', upstreams: {a: 'a:1'}, routes: [{to: a, use: [per_ip]}]}").diagnostics
    assert (found.code, found.help) == ("PXD-051", "did you mean `per-ip`? defined: none; built in: per-ip, public")


@pytest.mark.parametrize("name", BUILT_IN)
def test_it_is_what_a_file_could_say(name: str) -> None:
    config = config_of(f"{{listen: ':1', to: 'a:1', policies: {{mine: {canonical(BUILT_IN[name])}}}, defaults: {{use: mine}}}}")
    assert config.policies["mine"] == BUILT_IN[name]
