"""`access`, `cors` and `request`, as the engines take them."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxyd_ext.snapshot.spec import AccessFilter

if TYPE_CHECKING:
    from proxyd.config.access import Access
    from proxyd.config.model import Config
    from proxyd.snapshot.handles import Handles


def build_access(config: Config, handles: Handles, name: str, access: Access) -> AccessFilter:
    return AccessFilter(access.allow_networks, access.deny_networks, access.default_allow, name)


def build_deny_all() -> AccessFilter:
    """What `defaults.access: deny` gives to a route."""
    return AccessFilter(default_allow=False, policy="defaults.access")


def build_request(name: Any, rules: Any) -> Any:
    raise NotImplementedError


def build_cors(name: Any, cors: Any) -> Any:
    raise NotImplementedError
