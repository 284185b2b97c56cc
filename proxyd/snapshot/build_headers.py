"""Changes to header fields, as the engines take them."""
from __future__ import annotations

from typing import TYPE_CHECKING

from proxyd_ext.snapshot.spec import HeadersFilter

if TYPE_CHECKING:
    from proxyd.config.headers import Headers


def build_headers(headers: Headers) -> HeadersFilter:
    request, response = headers.request, headers.response
    return HeadersFilter(
        request_set=field_lines(request.set),
        response_set=field_lines(response.set),
        request_add=field_lines(request.add),
        response_add=field_lines(response.add),
        request_remove=request.remove,
        response_remove=response.remove,
    )


def field_lines(fields: dict[str, str]) -> bytes:
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in fields.items())
