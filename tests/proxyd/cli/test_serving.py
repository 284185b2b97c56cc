from __future__ import annotations

import pytest

from proxyd.cli.errors import CliError, Exit
from proxyd.cli.serving import admin_bind, cannot_serve, url_of
from proxyd.cli.settings import Settings
from proxyd.config.address import BindAddress
from proxyd.diagnostics import Diagnostic
from proxyd.state import DaemonError


@pytest.mark.parametrize(("address", "url"), [
    (":8080", "http://localhost:8080"), ("0.0.0.0:8080", "http://localhost:8080"), ("[::]:80", "http://localhost"),
    ("127.0.0.1:80", "http://127.0.0.1"), ("[::1]:8080", "http://[::1]:8080"), ("unix:/run/x.sock", "unix:/run/x.sock"),
])
def test_addresses_to_click_on(address: str, url: str) -> None:
    assert url_of(address) == url


def test_addresses_of_flows_are_not_taken_for_pages() -> None:
    assert url_of(":5432", "tcp") == "tcp://localhost:5432"
    assert (url_of("127.0.0.1:80", "udp"), url_of("[::]:8443", "tls_passthrough")) == ("udp://127.0.0.1:80", "tls://localhost:8443")


def test_where_admin_listens() -> None:
    assert admin_bind(Settings()) is None
    assert admin_bind(Settings(admin="unix:/run/a.sock")) == (BindAddress(path="/run/a.sock"),)
    assert admin_bind(Settings(admin="http://localhost:2080")) == (BindAddress(host="127.0.0.1", port=2080),)
    with pytest.raises(CliError) as error:
        admin_bind(Settings(admin="nonsense"))
    assert error.value.exit == Exit.USAGE


@pytest.mark.parametrize(("codes", "exit_"), [
    (["PXD-021"], Exit.CONFIG_INVALID),
    (["PXD-082", "PXD-003"], Exit.CONFIG_INVALID),
    (["PXD-070"], Exit.FAILED),
    (["PXD-213"], Exit.FAILED),
    (["PXD-021", "PXD-070"], Exit.FAILED),
    ([], Exit.FAILED),
])
def test_exit_codes_of_a_failed_start(codes: list[str], exit_: Exit) -> None:
    error = cannot_serve(DaemonError("it failed", [Diagnostic(code, "wrong") for code in codes]))
    assert error.exit == exit_
    assert str(error).startswith("proxyd cannot start: ")
    assert len(error.diagnostics) == len(codes)


def test_warnings_do_not_decide() -> None:
    found = [Diagnostic("PXD-070", "taken"), Diagnostic("PXD-101", "odd", severity="warning")]
    assert cannot_serve(DaemonError("it failed", found)).exit == Exit.FAILED
