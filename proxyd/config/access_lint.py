"""Countries in `access`, against the database that tells them."""

from __future__ import annotations

from collections.abc import Iterator

from proxyd.config.access import COUNTRY
from proxyd.config.doubt import Doubt
from proxyd.config.model import Config
from proxyd.diagnostics.marked import Step

Path = tuple[Step, ...]


def access_faults(config: Config) -> Iterator[Doubt]:
    """What cannot work: a country without a database. (Not to be asked where the file's `geoip` was refused.)"""
    if config.geoip is not None:
        return
    for path, code in _countries(config):
        help = "add `geoip: /usr/share/GeoIP/GeoLite2-Country.mmdb`, the path of a MaxMind database"
        yield Doubt("PXD-085", f"`{COUNTRY}{code}` needs a database, to know which addresses these are", path, help)


def access_doubts(config: Config) -> Iterator[Doubt]:
    """What has no effect: a country that the database does not know, and a database that nobody asks."""
    if config.geoip is None:
        return
    asked = list(_countries(config))
    if not asked:
        yield Doubt("PXD-106", "`geoip` has no effect: no `access` names a country", ("geoip",), "like `access: {allow: country:SE}`")
    for path, code in asked:
        if code not in config.geoip.file.countries.codes:
            message = f"`{COUNTRY}{code}` has no effect: no address in the database is there"
            yield Doubt("PXD-106", message, path, "codes are those of ISO 3166-1, and Sweden's is `SE`")


def _countries(config: Config) -> Iterator[tuple[Path, str]]:
    """Each country with its place."""
    for name, policy in config.policies.items():
        for side in ("allow", "deny") if policy.access is not None else ():
            for index, client in enumerate(getattr(policy.access, side)):
                if client.startswith(COUNTRY):
                    yield ("policies", name, "access", side, index), client.removeprefix(COUNTRY)
