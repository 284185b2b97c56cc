"""Parts of proxyd that need a library which is not installed with it."""

from __future__ import annotations

import importlib.util

from proxyd.diagnostics.fail import fail

EXTRAS: dict[str, str] = {"redis": "redis", "memcached": "emcache", "geoip": "maxminddb"}  # name of the extra → what is imported


def is_installed(extra: str) -> bool:
    """Whether its library can be imported. Nothing is imported here."""
    return importlib.util.find_spec(EXTRAS[extra]) is not None


def need(extra: str, option: str, *, at: tuple[str, ...]) -> None:
    """Raises, pointing `at`, where the library of an extra cannot be imported."""
    if not is_installed(extra):
        help = f"run: pip install 'proxyd[{extra}]'"
        raise fail("PXD-040", f"`{option}` needs the extra `{extra}`, which is not installed", help, at=at, key=True)
