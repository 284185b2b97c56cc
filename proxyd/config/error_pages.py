"""Bodies of a site's own for answers that tell of a failure."""

from __future__ import annotations

import hashlib
from typing import Annotated, Self

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, model_validator

from proxyd.config.base import STRING, Model, Short
from proxyd.config.headers import HeaderValue
from proxyd.config.statuses import FailureStatuses
from proxyd.config.text import Flag, Text, as_text, check_body
from proxyd.diagnostics.fail import fail

_DIGITS = 8  # of a hash: enough to tell that a page has changed


class PageFile(str):
    """The path of a page as the config writes it, with what the file held when the config was loaded."""

    __slots__ = ("content",)
    content: bytes

    @classmethod
    def of(cls, path: str, content: bytes) -> Self:
        page = cls(path)
        page.content = content
        return page

    @property
    def mark(self) -> str:
        """The path, and a hash that changes with the content."""
        return f"{str.__str__(self)} ({hashlib.sha256(self.content).hexdigest()[:_DIGITS]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PageFile) and str.__eq__(self, other) and other.content == self.content

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((str.__hash__(self), self.content))


def check_file(value: object) -> PageFile:
    """Files have been read before (page_files.py), where their place in the config was known."""
    if isinstance(value, PageFile):
        return value
    raise fail("PXD-030", "expected the path of a file", f"like `pages/{as_text(value)[:40]}`" if isinstance(value, str) else "")


class ErrorPage(Model):
    file: Annotated[PageFile, PlainValidator(check_file), WithJsonSchema(STRING)] | None = Field(
        None,
        description="File with the body, up to 1 MiB, relative to this one; read when the config is loaded.",
        examples=["pages/5xx.html"],
    )
    body: Annotated[Text, AfterValidator(check_body)] | None = Field(
        None,
        description="Instead of a file: the body. In both `{status}`, `{reason}`, `{message}`, `{request_id}`, `{host}` are replaced.",
        examples=["<h1>Back soon</h1>"],
    )
    content_type: HeaderValue = Field("text/html; charset=utf-8", description="Its Content-Type.")
    intercept: Flag = Field(False, description="Answers of servers with that status get this body too, not only those that proxyd makes.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.file is None and self.body is None:
            raise fail("PXD-022", "the page has no body", "add `file: pages/x.html`, or `body`")
        if self.file is not None and self.body is not None:
            raise fail("PXD-024", "a page has `file` or `body`, not both", at=("body",), key=True)
        return self

    @property
    def content(self) -> bytes:
        return self.file.content if self.file is not None else (self.body or "").encode()


def expand_page(value: object) -> object:
    if isinstance(value, str):
        raise fail("PXD-030", "expected a mapping, got text", f"write `{{file: {value[:40]}}}`, or `{{body: …}}`")
    return value


ErrorPages = dict[FailureStatuses, Annotated[ErrorPage, Short(expand_page, ())]]
