"""The database of countries and the policies that ask it, from the file on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxyd.config import Config, extras, load, load_text
from proxyd.config.canonical import canonical_text, config_hash
from proxyd.diagnostics import Diagnostic, render_all
from tests.support.mmdb import country, mmdb

REST = "listen: ':1'\nroutes: [{respond: 200, use: p}]\n"
POLICY = "policies: {p: {access: {allow: [10.0.0.0/8, country:se], deny: country:NO}}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "geo.mmdb").write_bytes(mmdb({"192.0.2.0/24": country("SE"), "198.51.100.0/24": country("NO")}))
    return tmp_path


def findings(text: str, folder: Path) -> list[Diagnostic]:
    return load_text(REST + text, folder=str(folder), env={}).diagnostics


def loaded(text: str, folder: Path) -> Config:
    result = load_text(REST + text, folder=str(folder), env={})
    assert result.config is not None, render_all(result.diagnostics)
    assert result.diagnostics == []
    return result.config


@pytest.mark.parametrize("geoip", ["geoip: geo.mmdb\n", "geoip: {file: geo.mmdb}\n"])
def test_the_file_is_read_beside_the_config(folder: Path, geoip: str) -> None:
    config = loaded(geoip + POLICY, folder)
    assert config.geoip is not None
    assert config.geoip.file.countries.country("192.0.2.7") == "SE"
    access = config.policies["p"].access
    assert access is not None
    assert (access.allow_networks, access.allow_countries, access.deny_countries) == (("10.0.0.0/8",), frozenset({"SE"}), frozenset({"NO"}))
    assert not access.default_allow
    assert "geoip:\n  file: geo.mmdb\n" in canonical_text(config)
    assert load_text(canonical_text(config), folder=str(folder), env={}).config == config


def test_an_included_files_database_stands_beside_it(folder: Path) -> None:
    (folder / "conf.d").mkdir()
    (folder / "geo.mmdb").rename(folder / "conf.d" / "geo.mmdb")
    (folder / "conf.d" / "part.yaml").write_text("geoip: geo.mmdb\n" + POLICY)
    main = folder / "proxyd.yaml"
    main.write_text("include: conf.d/*.yaml\n" + REST)
    config = load(main, env={}).config
    assert config is not None
    assert config.geoip is not None


def test_a_newer_file_is_another_config(folder: Path) -> None:
    before, same = loaded("geoip: geo.mmdb\n" + POLICY, folder), loaded("geoip: geo.mmdb\n" + POLICY, folder)
    os.utime(folder / "geo.mmdb", (1, 1))
    after = loaded("geoip: geo.mmdb\n" + POLICY, folder)
    assert before == same
    assert config_hash(before) == config_hash(same)
    assert before != after
    assert config_hash(before) != config_hash(after)


@pytest.mark.parametrize(
    ("geoip", "message"),
    [
        ("geoip: none.mmdb", "cannot use the database `none.mmdb`: No such file or directory"),
        ("geoip: {file: text.mmdb}", "cannot use the database `text.mmdb`: it is not a MaxMind database, or a broken one"),
        ("geoip: /", "cannot use the database `/`: Is a directory"),
        ("geoip: asn.mmdb", "cannot use the database `asn.mmdb`: it does not tell countries"),
    ],
)
def test_what_cannot_be_used_is_told_once(folder: Path, geoip: str, message: str) -> None:
    (folder / "text.mmdb").write_text("countries\n" * 100)
    (folder / "asn.mmdb").write_bytes(mmdb({"10.0.0.0/8": {"autonomous_system_number": 7}}))
    [found] = findings(f"{geoip}\n{POLICY}", folder)
    assert (found.code, found.message, found.span and found.span.line + 1) == ("PXD-085", message, 3)
    assert "relative to the config file" in found.help


@pytest.mark.parametrize("geoip", ["geoip: [a]", "geoip: {}", "geoip: {file: [a]}", "geoip: {fiel: a}", "geoip: ", "geoipp: geo.mmdb"])
def test_a_mistake_in_the_section_is_all_that_is_told(folder: Path, geoip: str) -> None:
    [found] = findings(f"{geoip}\n{POLICY}", folder)
    assert found.code in ("PXD-021", "PXD-022", "PXD-030")


def test_a_country_needs_a_database(folder: Path) -> None:
    found = findings(POLICY, folder)
    assert [(item.code, item.path) for item in found] == [
        ("PXD-085", "policies.p.access.allow[1]"), ("PXD-085", "policies.p.access.deny[0]")
    ]
    assert found[0].severity == "error"
    assert "geoip" in found[0].help


def test_a_country_is_allowed_or_denied(folder: Path) -> None:
    [found] = findings("geoip: geo.mmdb\npolicies: {p: {access: {allow: country:SE, deny: [country:NO, country:se]}}}\n", folder)
    assert (found.code, found.message) == ("PXD-039", "`country:SE` is both allowed and denied")


def test_what_has_no_effect_is_doubted(folder: Path) -> None:
    unknown = findings("geoip: geo.mmdb\npolicies: {p: {access: {deny: [country:SE, country:FI]}}}\n", folder)
    assert [(item.code, item.severity, item.path) for item in unknown] == [("PXD-106", "warning", "policies.p.access.deny[1]")]
    unused = findings("geoip: geo.mmdb\npolicies: {p: {access: {deny: all}}}\n", folder)
    assert [(item.code, item.severity, item.path) for item in unused] == [("PXD-106", "warning", "geoip")]


def test_without_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.EXTRAS, "geoip", "a_library_that_is_not_there")
    for geoip in ("geoip: geo.mmdb\n", "geoip: {file: geo.mmdb}\n"):
        [found] = findings(geoip + POLICY, folder)
        assert (found.code, found.help) == ("PXD-040", "run: pip install 'proxyd[geoip]'")
