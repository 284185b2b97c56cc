"""Where addresses are: a MaxMind database, which is read when the config is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, PlainValidator, WithJsonSchema

from proxyd.config.base import STRING, Model, Short
from proxyd.config.extras import need
from proxyd.config.text import as_text
from proxyd.diagnostics.fail import fail

if TYPE_CHECKING:
    from proxyd_ext.filter.country import Countries


class GeoFile(str):
    """The path of a database as the config writes it, with what the file held when the config was loaded."""

    __slots__ = ("countries", "stamp")
    countries: Countries
    stamp: tuple[str, int, int]  # absolute path, time of the last change (ns), size: tells databases apart

    @classmethod
    def read(cls, text: str, path: Path) -> Self:
        """`path`: the same, from the working directory. OSError or ValueError where it is no database of countries."""
        from proxyd_ext.filter.country import Countries

        file = cls(text)
        facts = path.stat()
        file.stamp = (str(path.absolute()), facts.st_mtime_ns, facts.st_size)
        file.countries = Countries(str(path))
        return file

    @property
    def mark(self) -> str:
        """What changes when the file does."""
        return " ".join(map(str, self.stamp))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GeoFile) and str.__eq__(self, other) and other.stamp == self.stamp

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((str.__hash__(self), self.stamp))


def check_geo_file(value: object) -> GeoFile:
    """Files have been read before (geo_files.py), where their place in the config was known; but not without the library."""
    if isinstance(value, GeoFile):
        return value
    if isinstance(value, str):
        need("geoip", "geoip", at=())
    raise fail("PXD-030", "expected the path of a file", f"like `{as_text(value)[:40]}.mmdb`" if isinstance(value, str) else "")


def expand_geoip(value: object) -> object:
    return {"file": value} if isinstance(value, str) else value


class GeoIp(Model):
    file: Annotated[GeoFile, PlainValidator(check_geo_file), WithJsonSchema(STRING)] = Field(
        description="The database (GeoLite2 Country, or another of its form), relative to this file; read when the config is loaded.",
        examples=["/usr/share/GeoIP/GeoLite2-Country.mmdb"],
    )


GeoIpField = Annotated[GeoIp, Short(expand_geoip, (STRING,))]
