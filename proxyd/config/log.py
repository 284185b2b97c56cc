"""The section `log`: what proxyd tells about itself, and the access log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, create_model, model_validator

from proxyd.config.address import Address
from proxyd.config.base import NONE, ONE_OR_MORE, STRING, Model, Short
from proxyd.config.text import Integer, Text, as_text
from proxyd.config.units import Duration, Percent, Size, Within
from proxyd.diagnostics.fail import fail, shown

STANDARD = ("stdout", "stderr")
SYSLOG_PORT = 514
_TARGETS = "`stdout`, `stderr`, a file, `syslog`, `syslog://10.0.0.1:514` or `syslog+unix:/path`"
_SHOWN_HEADERS = {"host": "host", "user-agent": "user_agent", "referer": "referer"}
_NAMING_HEADERS = ("x-request-id", "traceparent")


# ---------------------------------------------------------------- where to
def syslog_of(to: str) -> Address | None:
    """The receiver of `syslog://…` and `syslog+unix:…`; None for every other target."""
    if to.startswith("syslog+unix:"):
        return Address.parse("unix:" + to.removeprefix("syslog+unix:").removeprefix("//"))
    if not to.startswith("syslog://"):
        return None
    place = to.removeprefix("syslog://")
    has_port = place.rpartition("]")[2].count(":") == 1
    return Address.parse(place if has_port else f"{place}:{SYSLOG_PORT}")


def check_target(to: str) -> str:
    if not to or to.endswith("/") or "\0" in to:
        raise fail("PXD-038", f"{shown(to)} is not the name of a file", f"write {_TARGETS}")
    if "://" in to or to.startswith(("syslog:", "syslog+")):
        address = syslog_of(to)
        if address is None:
            raise fail("PXD-035", f"{shown(to)} is no place for an access log", f"write {_TARGETS}")
        if not address.is_unix and not address.is_ip:
            help = "write its address, since a log does not wait for a resolver; `syslog` is the daemon of this machine"
            raise fail("PXD-035", f"the receiver {shown(address.host)} is a name", help)
    return to


def is_file(to: str) -> bool:
    return to not in STANDARD and to != "syslog" and syslog_of(to) is None


Target = Annotated[Text, AfterValidator(check_target)]


# ---------------------------------------------------------------- which ones
Share = Annotated[Percent, Within("0%", "100%")]
_CLASSES = {
    "1xx": "Answers 101, which begin a WebSocket.",
    "2xx": "Of the answers with such a status, those whose record is written; which ones they are goes by the request's id.",
    "3xx": "Redirects and 304.",
    "4xx": "Refused by the server or by proxyd; 499 (the client went away) too.",
    "5xx": "Failed.",
}
if TYPE_CHECKING:

    class Classes(Model): ...

else:
    Classes = create_model(  # a class body cannot spell the names
        "Classes",
        __base__=Model,
        __module__=__name__,
        **{name: (Share, Field(Percent("100%"), description=text)) for name, text in _CLASSES.items()},
    )


class Sample(Classes):
    flows: Share = Field(Percent("100%"), description="Connections of TCP and flows of UDP; failed ones are all written.")
    slower_than: Annotated[Duration, Within("1ms", "1h", off=True)] = Field(
        Duration(0), description="Requests that took so long are all written, whatever their status.", examples=["1s"]
    )

    def shares(self) -> dict[str, int]:
        """Of a hundred records, how many are written, by class."""
        return {name: int(getattr(self, name)) for name in (*_CLASSES, "flows")}


# ---------------------------------------------------------------- without what
def check_hidden(key: str) -> str:
    if key == "client.ip":
        return key
    kind, _, names = key.partition(":")
    if kind == "cookie":
        raise fail("PXD-034", "records show no cookies", "leave it out")
    if kind not in ("header", "query"):
        raise fail("PXD-034", f"{shown(key)} is nothing that can be hidden", "write `query:NAME,…`, `header:NAME,…` or `client.ip`")
    for name in map(str.strip, names.split(",")):
        if not re.match(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z" if kind == "header" else r"[^\s&=#;?]+\Z", name):
            raise fail("PXD-034", f"{shown(name)} cannot be a name in `{kind}:…`", f"write `{kind}:NAME,…`")
        if kind == "header" and name.lower() in _NAMING_HEADERS:
            raise fail("PXD-034", f"{shown(name)} cannot be hidden", "records are found by it")
    return key


Hidden = Annotated[
    str,
    BeforeValidator(as_text),
    AfterValidator(check_hidden),
    WithJsonSchema({"type": "string", "pattern": r"^(client\.ip|(header|query):.+)$"}),
]


def hidden_fields(redact: tuple[str, ...]) -> tuple[str, ...]:
    """The fields of a record that `redact` hides, as native rules name them; header fields that no record shows are none."""
    found = {"client.ip"} & set(redact)
    return tuple(sorted(found | {_SHOWN_HEADERS[name.lower()] for name in _names(redact, "header") if name.lower() in _SHOWN_HEADERS}))


def hidden_parameters(redact: tuple[str, ...]) -> tuple[str, ...]:
    return _names(redact, "query")


def _names(redact: tuple[str, ...], kind: str) -> tuple[str, ...]:
    lists = (key.partition(":")[2] for key in redact if key.partition(":")[0] == kind)
    return tuple(name.strip() for names in lists for name in names.split(","))


# ---------------------------------------------------------------- how long
class Rotate(Model):
    size: Annotated[Size, Within("64KiB", "1TiB", off=True)] = Field(
        Size("100MiB"), description="A file that has grown so large is put aside as FILE.1, the one before as FILE.2, and so on."
    )
    every: Annotated[Duration, Within("1m", "366d", off=True)] = Field(
        Duration(0), description="So is one at the end of such a time, counted from a midnight of UTC.", examples=["1d"]
    )
    keep: Annotated[Integer, Field(ge=1, le=10_000)] = Field(7, description="Files that are kept beside the one that is written.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.size and not self.every:
            raise fail("PXD-039", "nothing says when to rotate", "add `size: 100MiB` or `every: 1d`", at=("size",))
        return self


# ---------------------------------------------------------------- all of it
def expand_access(value: object) -> object:
    if value == "none":
        return None
    return {"to": value} if isinstance(value, str) else value


class AccessLog(Model):
    to: Target = Field(
        "stdout",
        description=(
            "`stdout`, `stderr`, or a file, which USR1 opens anew; `syslog` (the daemon of this machine, by /dev/log), "
            "`syslog://10.0.0.1:514` (UDP) or `syslog+unix:/path`, as RFC 5424, one datagram a record."
        ),
        examples=["/var/log/proxyd/access.log"],
    )
    format: Literal["auto", "json", "combined", "haproxy", "logfmt", "pretty"] = Field(
        "auto",
        description="`auto` is `pretty` on a terminal and `json` elsewhere. `combined` is Apache's, `haproxy` what `halog` reads.",
    )
    sample: Sample = Field(Sample(), description="Which records are written; others are counted only.")
    redact: Annotated[tuple[Hidden, ...], ONE_OR_MORE] = Field(
        (),
        description=(
            "What no record shows, here or to anybody: values of parameters (also those of the Referer's URL) and of header fields "
            "become `***`, `client.ip` its network (/24, /48). Parameters that an `auth` policy takes credentials from are hidden anyway, "
            "and of header fields only host, referer and user-agent are ever shown."
        ),
        examples=[["query:token,key", "header:referer", "client.ip"]],
    )
    rotate: Rotate | None = Field(None, description="Put the file aside and begin another. Without it, that is for logrotate and USR1.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.rotate is not None and not is_file(self.to):
            raise fail("PXD-039", f"only a file can be rotated, and the log goes to {shown(self.to)}", "leave it out", at=("rotate",))
        return self


class AuditTrail(Model):
    size: Annotated[Size, Within("64KiB", "1TiB")] = Field(
        Size("16MiB"), description="A file of the trail that has grown so large is put aside, and the chain goes on in another one."
    )
    keep: Annotated[Integer, Field(ge=1, le=10_000)] = Field(
        9, description="Files put aside that are kept; before an older one is removed, a record tells of it."
    )


class Log(Model):
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="What proxyd tells about itself, on stderr.")
    access: Annotated[AccessLog | None, Short(expand_access, (NONE, STRING))] = Field(
        AccessLog(), description="One record for each request; or `none`.", examples=[{"to": "stdout", "format": "json"}]
    )
    audit: AuditTrail = Field(AuditTrail(), description="How much is kept of the audit trail, which lies in the state folder.")
