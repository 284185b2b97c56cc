"""Names and attributes of the cookies that proxyd sets (RFC 6265)."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from proxyd.config.hosts import check_host
from proxyd.config.text import Text
from proxyd.diagnostics.fail import fail, shown

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}\Z")  # RFC 6265 §4.1.1
_PATH = re.compile(r"/[\x21-\x3a\x3c-\x7e]{0,255}\Z")


def check_cookie_name(text: str) -> str:
    if not _TOKEN.match(text):
        raise fail("PXD-038", f"{shown(text)} is not the name of a cookie", "like `pxd_server`")
    return text


def check_cookie_path(text: str) -> str:
    if not _PATH.match(text):
        raise fail("PXD-038", f"{shown(text)} is not the path of a cookie", "begin with `/`, like `/shop`")
    return text


def check_cookie_domain(text: str) -> str:
    host = check_host(text.strip().removeprefix("."))
    if not host or host.startswith(("*.", "[")):
        raise fail("PXD-038", f"{shown(text)} is not the domain of a cookie", "like `example.com`, which covers the names below it too")
    return host


CookieName = Annotated[Text, AfterValidator(check_cookie_name)]
CookiePath = Annotated[Text, AfterValidator(check_cookie_path)]
CookieDomain = Annotated[Text, AfterValidator(check_cookie_domain)]
