"""`auth`, as the engines take it."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxyd_ext.snapshot.spec import HeadersFilter

if TYPE_CHECKING:
    from proxyd.config.model import Config


def build_auth(config: Any, handles: Any, name: Any, auth: Any) -> Any:
    raise NotImplementedError


def identity_fields(config: Config) -> HeadersFilter | None:
    """Removes the fields in which any `auth` policy tells servers who the client is: no client says that itself, on no route."""
    return None
