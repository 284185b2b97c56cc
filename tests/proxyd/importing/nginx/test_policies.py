from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from proxyd.config.access import Access
from proxyd.importing.nginx.policies import access_policy
from proxyd.importing.nginx.tree import Directive
from proxyd.importing.report import Origin, Report

RULES = st.tuples(
    st.sampled_from(["allow", "deny"]),
    st.sampled_from(["all", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3", "192.0.2.0/24", "2001:db8::/32", "2001:db8::1"]),
)
CLIENTS = ["10.1.2.3", "10.1.2.4", "10.1.9.9", "10.9.9.9", "192.0.2.1", "198.51.100.1", "2001:db8::1", "2001:db8::2", "2001:db9::1"]


def nginx(rules: list[tuple[str, str]], client: str) -> bool:
    """The first rule that fits; without one, everybody may."""
    address = ipaddress.ip_address(client)
    return next((side == "allow" for side, network in rules if network == "all" or address in ipaddress.ip_network(network)), True)


def ours(access: Access, client: str) -> bool:
    """The longest network, else the default."""
    address = ipaddress.ip_address(client)
    found = [
        (ipaddress.ip_network(network).prefixlen, allowed)
        for allowed, networks in ((True, access.allow_networks), (False, access.deny_networks))
        for network in networks
        if address in ipaddress.ip_network(network)
    ]
    return max(found)[1] if found else access.default_allow


@given(st.lists(RULES, min_size=1, max_size=6))
def test_the_same_clients_may_pass(rules: list[tuple[str, str]]) -> None:
    policy = access_policy([Directive(side, (network,), Origin("nginx.conf", 1, side)) for side, network in rules], Report())
    for client in CLIENTS:
        allowed = True if policy is None else ours(Access.model_validate(policy["access"]), client)
        assert allowed == nginx(rules, client), (rules, client, policy)
