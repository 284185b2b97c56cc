"""Countries of addresses, held against MaxMind's own library."""
from __future__ import annotations

import ipaddress
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import maxminddb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd_ext.filter.country import Countries
from tests.support.mmdb import country, mmdb, prefixes

NETWORKS = {
    "10.0.0.0/8": country("SE"),
    "10.1.0.0/16": country("NO"),
    "10.1.2.3/32": country("FI"),
    "192.0.2.0/25": country("DE"),
    "2001:db8::/32": country("FR"),
    "2001:db8:8000::/33": country("IT"),
    "2001:db8::1/128": country("ES"),
}


def written(folder: Path, content: bytes) -> str:
    path = folder / "test.mmdb"
    path.write_bytes(content)
    return str(path)


def loaded(folder: Path, content: bytes) -> Countries:
    return Countries(written(folder, content))


@pytest.mark.parametrize("record_size", [24, 28, 32])
def test_the_narrowest_network_tells(tmp_path: Path, record_size: int) -> None:
    countries = loaded(tmp_path, mmdb(NETWORKS, record_size=record_size))
    expected = {
        "10.0.0.0": "SE", "10.255.255.255": "SE", "9.255.255.255": "", "11.0.0.0": "", "10.1.0.0": "NO", "10.1.2.3": "FI", "10.1.2.4": "NO",
        "192.0.2.127": "DE", "192.0.2.128": "", "2001:db8::": "FR", "2001:db8::1": "ES", "2001:db8:ffff::": "IT", "2001:db9::": "",
        "::ffff:10.1.2.3": "FI",                                   # an IPv4 address, whatever it is written like
        "2002:0a01:0203::1": "FI", "2002:0b01:0203::1": "",        # 6to4: an alias of the IPv4 part
        "nowhere": "", "": "", "10.1.2.3.4": "",
    }
    assert {address: countries.country(address) for address in expected} == expected
    assert countries.codes == {"SE", "NO", "FI", "DE", "FR", "IT", "ES"}
    assert countries.build_epoch == 1_700_000_000


def test_a_tree_for_ipv4_only(tmp_path: Path) -> None:
    countries = loaded(tmp_path, mmdb({"10.0.0.0/8": country("SE"), "10.1.2.3/32": country("FI")}, ip_version=4))
    assert [countries.country(each) for each in ("10.0.0.1", "10.1.2.3", "11.0.0.1", "::1", "a00::")] == ["SE", "FI", "", "", ""]


def test_records_of_several_shapes(tmp_path: Path) -> None:
    records: dict[str, Mapping[str, object]] = {
        "10.0.0.0/16": {"country": "se"}, "10.1.0.0/16": {"country_code": "NO"}, "10.2.0.0/16": {"country": {"geoname_id": 7}},
        "10.3.0.0/16": {"city": {"iso_code": "FI"}}, "10.4.0.0/16": {"country": "Finland"}, "10.5.0.0/16": {"country": {"iso_code": "1!"}},
        "10.6.0.0/16": {"registered_country": {"iso_code": "FI"}},
    }
    countries = loaded(tmp_path, mmdb(records))
    assert [countries.country(f"10.{number}.0.1") for number in range(7)] == ["SE", "NO", "", "", "", "", ""]


CODES = st.sampled_from(["SE", "NO", "DE", "FR"])
V4 = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 32)).map(lambda it: str(ipaddress.ip_network(it, strict=False)))
V6 = st.tuples(st.integers(2**100, 2**128 - 1), st.integers(1, 128)).map(lambda it: str(ipaddress.ip_network(it, strict=False)))


@settings(max_examples=60, deadline=None)
@given(networks=st.dictionaries(V4 | V6, CODES, max_size=12), record_size=st.sampled_from([24, 28, 32]), aliases=st.booleans())
def test_it_says_what_the_library_says(
    tmp_path_factory: pytest.TempPathFactory, networks: dict[str, str], record_size: int, aliases: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    networks |= {"203.0.113.0/24": "FI"}         # an alias may replace all the others
    path = written(folder, mmdb({text: country(code) for text, code in networks.items()}, record_size=record_size, aliases=aliases))
    countries = Countries(path)
    with maxminddb.open_database(path) as library:
        for address in (*prefixes(networks), "8.8.8.8", "2002:808:808::", "::1"):
            record = cast("dict[str, dict[str, str]] | None", library.get(address))
            assert countries.country(address) == (record["country"]["iso_code"] if record else ""), address


def test_a_file_that_is_overwritten_does_not_matter(tmp_path: Path) -> None:
    """Nothing of it is mapped: a mapping that is cut short kills whoever looks at it."""
    path = written(tmp_path, mmdb(NETWORKS))
    countries = Countries(path)
    os.truncate(path, 0)
    assert countries.country("10.1.2.3") == "FI"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("record_size", [24, 28, 32])
def test_broken_files(tmp_path: Path, version: Literal[4, 6], record_size: int) -> None:
    """Bytes that are turned or missing: refused, or some countries are unknown or others; and it goes on."""
    networks = {text: record for text, record in NETWORKS.items() if version == 6 or ":" not in text}
    content = mmdb(networks, record_size=record_size, ip_version=version)
    draw = random.Random(record_size * version)
    refused = 0
    for _ in range(250):
        broken = bytearray(content)
        for _ in range(draw.choice((1, 1, 3, 30))):
            broken[draw.randrange(len(broken))] = draw.choice((0, 1, 0x7F, 0xFF, draw.randrange(256)))
        if draw.random() < 0.2:
            del broken[draw.randrange(len(broken)) :]
        try:
            countries = loaded(tmp_path, bytes(broken))
        except ValueError:
            refused += 1
            continue
        for address in prefixes(NETWORKS):
            assert len(countries.country(address)) in (0, 2)
    assert 20 < refused < 250


def ring() -> bytes:
    """A tree whose second node leads to itself, and to data so that there is a country."""
    content = bytearray(mmdb({"0.0.0.0/2": country("SE")}, ip_version=4, aliases=False))
    content[9:12] = (1).to_bytes(3, "big")
    return bytes(content)


def test_a_ring_in_the_tree_ends(tmp_path: Path) -> None:
    countries = loaded(tmp_path, ring())
    assert [countries.country(each) for each in ("0.0.0.1", "64.0.0.0", "127.255.255.255", "95.0.0.0")] == ["SE", "SE", "", "SE"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is not a MaxMind database, or a broken one"),
        (b"x" * 5000, "it is not a MaxMind database, or a broken one"),
        (mmdb({"10.0.0.0/8": {"autonomous_system_number": 7}}), "it does not tell countries"),
        (mmdb({"10.0.0.0/8": country("SE")}, metadata={"record_size": 20}), "it is not a MaxMind database, or a broken one"),
        (mmdb({"10.0.0.0/8": country("SE")}, metadata={"node_count": 100_000}), "it is not a MaxMind database, or a broken one"),
        (b"\xff\xff\xff" + mmdb({"10.0.0.0/8": country("SE")})[3:], "it is broken: the search tree leads out of the file"),
        (mmdb({"10::/127": country("SE")}, metadata={"ip_version": 4}), "it is broken: the search tree is deeper than an address"),
    ],
    ids=["empty", "text", "no countries", "record size", "tree too large", "out of the file", "too deep"],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=f"{message}$"):
        loaded(tmp_path, content)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Countries(str(tmp_path / "none.mmdb"))
    with pytest.raises(IsADirectoryError):
        Countries(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a file"):
        Countries(str(tmp_path / "pipe"))
    with pytest.raises(ValueError, match="not a file"):
        Countries(os.devnull)


def test_a_database_is_loaded_once(tmp_path: Path) -> None:
    path = written(tmp_path, mmdb(NETWORKS))
    countries = Countries(path)
    with pytest.raises(TypeError):
        Countries.__init__(countries, path)
