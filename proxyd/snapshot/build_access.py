"""`access`, `cors` and `request`, as the engines take them."""
from __future__ import annotations

from typing import TYPE_CHECKING

from proxyd_ext.snapshot.spec import AccessFilter, CorsFilter, RequestFilter

if TYPE_CHECKING:
    from proxyd.config.access import Access
    from proxyd.config.cors import Cors
    from proxyd.config.model import Config
    from proxyd.config.request_rules import RequestRules
    from proxyd.snapshot.handles import Handles
    from proxyd_ext.filter.country import Countries


def build_access(config: Config, handles: Handles, name: str, access: Access) -> AccessFilter:
    return AccessFilter(
        access.allow_networks,
        access.deny_networks,
        access.default_allow,
        name,
        countries=_countries(config, handles) if access.needs_countries else None,
        allow_countries=access.allow_countries,
        deny_countries=access.deny_countries,
    )


def _countries(config: Config, handles: Handles) -> Countries | None:
    """One database for all policies, and over reloads for as long as the file stays what it is."""
    if config.geoip is None:
        return None
    file = config.geoip.file
    return handles.get("countries", "", file.stamp, lambda: file.countries)


def build_deny_all() -> AccessFilter:
    """What `defaults.access: deny` gives to a route."""
    return AccessFilter(default_allow=False, policy="defaults.access")


def build_request(name: str, rules: RequestRules) -> RequestFilter:
    return RequestFilter(name, rules.served, int(rules.body_size))


def build_cors(name: str, cors: Cors) -> CorsFilter:
    return CorsFilter(
        name,
        cors.origins,
        methods=cors.methods,
        headers=cors.headers,
        expose=cors.expose,
        credentials=cors.credentials,
        max_age_s=-1 if cors.max_age is None else int(cors.max_age),
    )
