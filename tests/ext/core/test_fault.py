"""The one table of faults."""

from __future__ import annotations

import re
from http import HTTPStatus

from proxyd_ext.core.fault import faults

# RFC 9209 §2.3: the proxy error types that are registered there.
TYPES = {
    "dns_timeout",
    "dns_error",
    "destination_not_found",
    "destination_unavailable",
    "destination_ip_prohibited",
    "destination_ip_unroutable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_read_timeout",
    "connection_write_timeout",
    "connection_limit_reached",
    "tls_protocol_error",
    "tls_certificate_error",
    "tls_alert_received",
    "http_request_error",
    "http_request_denied",
    "http_response_incomplete",
    "http_response_header_section_size",
    "http_response_header_size",
    "http_response_body_size",
    "http_response_trailer_section_size",
    "http_response_trailer_size",
    "http_response_transfer_coding",
    "http_response_content_coding",
    "http_response_timeout",
    "http_upgrade_failed",
    "http_protocol_error",
    "proxy_internal_response",
    "proxy_internal_error",
    "proxy_configuration_error",
    "proxy_loop_detected",
}


def test_every_row_is_whole() -> None:
    for word, fault in faults().items():
        assert re.fullmatch(r"[a-z][a-z_]*", word)
        assert fault["source"] in ("client", "self", "upstream")
        assert fault["retry"] in ("never", "if_reused", "safe")
        assert fault["proxy_error"] in TYPES
        assert word == "none" or fault["status"] == 499 or fault["status"] in [status.value for status in HTTPStatus if status >= 400]
        assert re.fullmatch(r"[a-z].*[^.]", str(fault["sentence"])), "a plain sentence, to stand within another"
        assert '"' not in str(fault["sentence"]), "it stands in JSON as it is"


def test_only_an_origins_failures_are_tried_again() -> None:
    table = faults()
    again = {word: fault["retry"] for word, fault in table.items() if fault["retry"] != "never"}
    assert all(table[word]["source"] == "upstream" for word in again)
    assert {word for word, retry in again.items() if retry == "safe"} == {
        "connect_refused",
        "connect_timeout",
        "connect_unreachable",
        "connect_failed",
    }
    assert {word for word, retry in again.items() if retry == "if_reused"} == {"upstream_closed", "upstream_reset"}


def test_codes_are_distinct() -> None:
    codes = [fault["code"] for fault in faults().values()]
    assert len(set(codes)) == len(codes)
