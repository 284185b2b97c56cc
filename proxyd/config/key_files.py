"""Reads the files with public keys that policies name, while it is known where in the config each is named (as page_files.py does)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from proxyd.config.auth_jwt import Jwt
from proxyd.config.error_pages import PageFile
from proxyd.diagnostics.diagnostic import Diagnostic
from proxyd.diagnostics.marked import Map, Step, locate, remove

if TYPE_CHECKING:
    from proxyd.config.model import Config

MAX_BYTES = 256 * 1024


def read_key_files(data: Map, found: list[Diagnostic], read: list[Path]) -> None:
    """Put each file's content beside its path, in place; what cannot be read is taken out, with a finding. `read` gets the paths."""
    for path in list(_paths(data)):
        place = locate(data, path)
        owner = locate(data, path[:-1]).here
        if not isinstance(place.here, str) or not isinstance(owner, Map):
            continue
        file = Path(place.value.source.folder, place.here)
        read.append(file)
        try:
            owner["file"] = PageFile.of(place.here, _content(file))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            message = f"cannot read the keys in `{place.here}`: {reason}"
            found.append(Diagnostic("PXD-081", message, place.value, "paths are relative to the config file"))
            remove(data, path)


def key_files(config: Config) -> tuple[PageFile, ...]:
    """The files that were read."""
    return tuple(jwt.keys.file for _, jwt in jwt_policies(config) if jwt.keys is not None and jwt.keys.file is not None)


def jwt_policies(config: Config) -> Iterator[tuple[str, Jwt]]:
    for name, policy in config.policies.items():
        if policy.auth is not None and policy.auth.jwt is not None:
            yield name, policy.auth.jwt


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(f"it is larger than {MAX_BYTES >> 10} KiB")
    return content


def _paths(data: Map) -> Iterator[tuple[Step, ...]]:
    policies = data.get("policies")
    for name in policies if isinstance(policies, Map) else ():
        path = ("policies", name, "auth", "jwt", "keys", "file")
        if locate(data, path).depth == len(path):
            yield path
