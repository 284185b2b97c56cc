"""Reads the database of countries, while it is known where in the config it is named."""

from __future__ import annotations

from pathlib import Path

from proxyd.config.extras import is_installed
from proxyd.config.geoip import GeoFile
from proxyd.diagnostics.diagnostic import Diagnostic
from proxyd.diagnostics.marked import Map, Step, locate, remove


def read_geoip(data: Map, found: list[Diagnostic]) -> None:
    """Put what the file holds beside its path, in place; what cannot be used is taken out, with a finding. Without the library it is
    left as it is: that is told where values are checked."""
    section = data.get("geoip")
    path: tuple[Step, ...] = ("geoip", "file") if isinstance(section, Map) else ("geoip",)
    place = locate(data, path)
    if place.depth < len(path) or not isinstance(place.here, str) or not is_installed("geoip"):
        return
    owner = locate(data, path[:-1]).here
    assert isinstance(owner, Map)
    try:
        owner[str(path[-1])] = GeoFile.read(place.here, Path(place.value.source.folder, place.here))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        help = "paths are relative to the config file; GeoLite2 Country is at maxmind.com, and `geoipupdate` keeps it fresh"
        found.append(Diagnostic("PXD-085", f"cannot use the database `{place.here}`: {reason}", place.value, help))
        remove(data, path)
