from __future__ import annotations

from proxyd.config.auth_jwt import MAX_CLAIMS
from proxyd.config.jwt_claims import claims_wanted
from tests.support.config import config_of

CONFIG = """
listeners: {{web: {{bind: ':1'}}, own: {{bind: ':2', routes: [{{match: /o, to: 'a:1', use: [sso, by-own]}}]}}}}
defaults: {{use: [by-tenant]}}
policies:
  sso: {{auth: {{jwt: {{issuer: 'https://a', audience: b, forward: {{sub: X-User}}, claims: {claims}}}}}}}
  other: {{auth: {{jwt: {{issuer: 'https://a', audience: b}}}}}}
  by-tenant: {{rate_limit: {{rate: 1/s, burst: 1, key: [client.ip, jwt.tenant]}}}}
  by-org: {{concurrency: {{max: 1, key: jwt.org.name}}}}
  by-own: {{rate_limit: {{rate: 1/s, burst: 1, key: jwt.own}}}}
  elsewhere: {{rate_limit: {{rate: 1/s, burst: 1, key: jwt.elsewhere}}}}
routes:
  - {{match: /a, to: 'a:1', use: [sso, by-org]}}
  - {{match: /b, to: 'a:1', use: [other, elsewhere]}}
"""


def wanted(name: str, claims: str = "[]") -> tuple[str, ...]:
    config = config_of(CONFIG.format(claims=claims))
    auth = config.policies[name].auth
    assert auth is not None
    assert auth.jwt is not None
    return claims_wanted(config, name, auth.jwt)


def test_those_of_limits_on_the_same_routes_and_those_that_filters_see() -> None:
    assert wanted("sso") == ("org.name", "own", "tenant", "sub")
    assert wanted("other") == ("elsewhere", "tenant")
    assert wanted("sso", "[tenant, role]") == ("org.name", "own", "tenant", "role", "sub")


def test_limits_go_first() -> None:
    found = wanted("sso", f"[{', '.join(f'c{number}' for number in range(15))}]")
    assert len(found) == MAX_CLAIMS
    assert found[:3] == ("org.name", "own", "tenant")
