"""Writes config/reference.yaml: every option with its documentation, type, bounds and default, as a file that loads.

What has a default stands there with it. What would exclude something else that is shown, and every short form, stands there commented.
`python -m proxyd.config.reference` prints it; a test holds the file in the repository against it.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from proxyd.config.model import Config
from proxyd.config.options import NAME, Option, default_of, option_of, plain_example
from proxyd.diagnostics.flow import flow
from proxyd.diagnostics.shape import Choice, Shape, field_shape, shape_of

WIDTH = 132
HEAD = """\
Every option of proxyd with its documentation and its default. This file is made from the model, proxyd/config/model.py, by
`python -m proxyd.config.reference`. It loads as a config, but is there to look things up in; to start from, take quickstart.yaml or one of
examples/.

Below each description: what the option takes · its bounds · its default. Options that are commented out have no default, or say in short
what others say in full. Durations, sizes, rates and percentages carry units: 500ms, 30s, 1h30m · 16KiB, 10MiB · 240B/s · 50%.
Values may hold ${name} (from `vars`), ${env:NAME}, ${env:NAME:-default} and ${file:PATH}."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample entry of a named section or of a list of mappings: which options it shows, and with what values."""

    name: str = ""
    only: tuple[str, ...] = ()  # else all of them
    without: tuple[str, ...] = ()  # shown as comments, since they exclude others
    values: dict[str, object] = field(default_factory=dict)
    inside: dict[str, Entry] = field(default_factory=dict)  # what an option of it shows, where that is a mapping
    brief: object = None  # the whole entry, in short
    aside: bool = False  # stands there commented as a whole: it names files that are not there
    comment: str = ""


PROXIED: dict[str, object] = {"client_ip": {"proxy_protocol": True, "trust": ["10.0.0.0/8"]}}
TESTS = (
    Entry("X-Env", only=("exact", "not")),
    Entry("X-Version", only=("prefix",)),
    Entry("X-Node", only=("suffix",)),
    Entry("X-Build", only=("regex",)),
    Entry("X-Trial", only=("present",)),
    Entry("X-Role", brief="primary", comment="in short"),
)
SAMPLES: dict[str, tuple[Entry, ...]] = {
    "listeners": (
        Entry("web", without=("routes",)),
        Entry("store", only=("bind", "mode"), values={"bind": ["127.0.0.1:2081"], "mode": "cache"}, comment="the cache, for applications"),
        Entry("database", values=PROXIED | {"bind": [":5432"], "mode": "tcp", "to": "database"}, comment="TCP"),
        Entry("dns", values=PROXIED | {"bind": [":53"], "mode": "udp", "to": "resolvers"}, comment="UDP"),
        Entry("undecrypted", values=PROXIED | {"bind": [":8443"], "mode": "tls_passthrough"}, comment="TLS that is not decrypted"),
    ),
    "routes": (
        Entry(
            without=("redirect", "respond", "cache"),
            values={"name": "api", "use": ["marked", "patient", "pages", "steady", "few", "tokens"], "to": {"app": 95, "canary": 5}},
        ),
        Entry(
            only=("match", "use", "to", "cache"),
            values={"match": "/static/*", "use": ["reading", "small"], "to": "app"},
            comment="a cache",
        ),
        Entry(only=("match", "redirect"), values={"match": "old.example.com/*"}, comment="a redirect"),
        Entry(only=("match", "use", "respond"), values={"match": "/robots.txt", "use": ["urgent"]}, comment="an answer from the config"),
        Entry(brief={"match": "/staff/*", "use": "staff", "to": "app"}, comment="for those with a name and a password"),
        Entry(brief={"match": "/partners/*", "use": "keys", "to": "app"}, comment="for those with an API key"),
        Entry(brief={"match": "/shop/*", "use": "asked", "to": "app"}, comment="for those whom a service lets in"),
        Entry(brief={"to": "app"}, comment="everything else"),
    ),
    "listeners.NAME.routes": (
        Entry(values={"name": "blue-green"}),
        Entry(brief={"match": "b.example", "to": "blue"}, comment="in short"),
        Entry(brief={"to": "green"}, comment="everything else"),
    ),
    "routes[].match.header": TESTS,
    "routes[].match.query": (Entry("debug", brief="1"),),
    "routes[].match.cookie": (Entry("beta", brief={"present": True}),),
    "routes[].cache.bypass.header": (Entry("X-No-Cache", brief="1"),),
    "routes[].cache.bypass.query": (Entry("nocache", brief="1"),),
    "routes[].cache.bypass.cookie": (Entry("session", brief={"present": True}),),
    "routes[].error_pages": (Entry("404", without=("file",)), Entry("5xx", brief={"body": "<h1>Back soon</h1>"}, comment="in short")),
    "policies": (
        Entry("office", only=("access",)),
        Entry("steady", only=("rate_limit",)),
        Entry("few", only=("concurrency",)),
        Entry("urgent", only=("priority",)),
        Entry("patient", only=("ban",)),
        Entry("reading", only=("request",)),
        Entry("pages", only=("cors",)),
        Entry("tokens", only=("auth",), inside={"auth": Entry(only=("jwt", "optional", "cache", "timeout", "remembered"))}),
        Entry("staff", only=("auth",), inside={"auth": Entry(only=("basic",))}),
        Entry("keys", only=("auth",), inside={"auth": Entry(only=("api_key",))}),
        Entry("asked", only=("auth",), inside={"auth": Entry(only=("forward",))}),
        Entry("tenant", only=("python",), aside=True),
        Entry("marked", only=("headers",)),
        Entry("small", only=("compress",)),
    ),
    "policies.NAME.auth.api_key.keys": (Entry("shop"),),
    "tests": (
        Entry(
            without=("alpn", "status", "redirect", "limit"),
            values={"request": "GET /static/a.css", "route": "static", "upstream": ["app"], "policies": ["small"], "refused": "none"},
        ),
        Entry(brief={"request": "tls://b.example:8443", "route": "b.example"}, comment="a flow"),
    ),
    "plans": (Entry("gold"),),
    "admin.users": (Entry("ops"),),
    "defaults.error_pages": (Entry("502-504", without=("file",)),),
    "upstreams": (
        Entry("app"),
        Entry("canary", brief=["127.0.0.1:9003"], comment="in short"),
        Entry("spare", brief=["127.0.0.1:9004"]),
        Entry("next", brief=["127.0.0.1:9005"]),
        Entry("database", brief={"servers": ["127.0.0.1:9006"], "balance": "first", "on_down": "close"}),
        Entry("resolvers", brief={"servers": ["127.0.0.1:9007"], "balance": "flow_hash", "proxy_protocol": "v2"}),
        Entry("blue", brief=["127.0.0.1:9008"]),
        Entry("green", brief=["127.0.0.1:9009"]),
    ),
    "upstreams.NAME.servers": (Entry(), Entry(brief="127.0.0.1:9002", comment="in short")),
    "upstreams.NAME.health.active": (
        Entry(without=("tcp", "udp", "redis", "postgres")),
        Entry(
            only=("tcp", "port"),
            values={"port": 9000},
            inside={"tcp": Entry(without=("send_hex", "expect_hex", "script"))},
            comment="another one: all must pass",
        ),
        Entry(only=("tcp",), inside={"tcp": Entry(only=("script",))}, comment="a script"),
        Entry(only=("udp",), inside={"udp": Entry(only=("send", "send_hex", "expect", "expect_hex"), without=("send", "expect"))}),
        Entry(only=("udp",), inside={"udp": Entry(only=("dns",))}, comment="a resolver"),
        Entry(only=("redis",)),
        Entry(only=("postgres",)),
    ),
    "upstreams.NAME.health.active[].tcp.script": (
        Entry(only=("send",), values={"send": "PING\r\n"}),
        Entry(only=("expect", "within"), values={"expect": "+PONG"}),
        Entry(only=("send_hex",)),
        Entry(only=("expect_hex", "not"), values={"not": True}),
        Entry(brief={"expect": {"regex": "role:(master|slave)"}}),
    ),
    "upstreams.NAME.health.active[].header": TESTS,
}


# Options without a default of their own that stand there with their example, because the whole around them would be empty without.
LIVE = re.compile(
    r"routes\[\]\.match\.\w+|listeners\.NAME\.routes\[\]\.match\.\w+|routes\[\]\.sticky\.cookie|policies\.NAME\.(priority|access\.\w+|request\.methods)|.*headers\.\w+\.set"
    r"|defaults\.use|policies\.NAME\.auth\.(jwt\.keys\.jwks|api_key\.keys\.NAME\.plan)|plans\.NAME\.(rate|quota)|limits\.redis"
    r"|upstreams\.NAME\.health\.active\[\]\.path|.*\.header\.NAME\.(?!not)\w+|upstreams\.NAME\.sticky\.cookie|.*\.active\[\]\.(tcp|udp)(\.script\[\])?\.(?!within|not)\w+"
    r"|.*error_pages\.NAME\.body|routes\[\]\.cache\.(ttl\.max|grace\.\w+)|cache\.(tiers|shared\.redis|purge\.allow)"
)

# Sections that stand there commented as a whole: they name files that are not there, or want one.
ASIDE = frozenset({"admin.users", "geoip", "log.access.rotate"})


def reference() -> str:
    """The text of the file."""
    head = [f"# {line}".rstrip() for line in HEAD.splitlines()]
    return "\n".join([*head, "", *_Writer().model(Config, "", 0, Entry())]) + "\n"


class _Writer:
    """Writes the lines; what an option is for is told once, where it stands first."""

    def __init__(self) -> None:
        self.told: set[tuple[str, ...]] = set()

    def model(self, model: type[BaseModel], path: str, depth: int, entry: Entry) -> Iterator[str]:
        block = first = True
        for name, info in model.model_fields.items():
            if entry.only and name not in entry.only:
                continue
            option = option_of(f"{path}{name}", info)
            body = list(self.value(name, info, option, depth, entry))
            if not first and (depth < 2 or block or len(body) > 1):
                yield ""
            block, first = len(body) > 1, False
            facts = (option.path, option.doc, option.bounds)
            if facts not in self.told:
                self.told.add(facts)
                yield from _words(option, "  " * depth)
            yield from body

    def value(self, name: str, info: FieldInfo, option: Option, depth: int, entry: Entry) -> Iterator[str]:
        pad, shape = "  " * depth, field_shape(info)
        example, default = plain_example(info), default_of(info)
        if name in entry.values:
            yield f"{pad}{name}: {flow(entry.values[name])}"
        elif option.is_short_form or name in entry.without:
            yield f"{pad}# {name}: {flow(example)}"
        elif option.path in SAMPLES:
            lines = [f"{pad}{name}:", *self.samples(option.path, shape, depth + 1)]
            yield from _aside(lines, pad) if option.path in ASIDE else lines
        elif shape.model is not None and option.path in ASIDE:
            yield f"{pad}# {name}:"
            yield from _aside(self.model(shape.model, f"{option.path}.", depth + 1, Entry()), pad)
        elif shape.model is not None:
            yield f"{pad}{name}:"
            yield from self.model(shape.model, f"{option.path}.", depth + 1, entry.inside.get(name, Entry()))
        elif option.required or LIVE.fullmatch(option.path):
            yield f"{pad}{name}: {flow(example)}"
        elif default is None or (default in ("", [], {}) and example is not None):
            yield f"{pad}# {name}: {flow(example)}"
        else:
            yield f"{pad}{name}: {flow(default)}"

    def samples(self, section: str, shape: Shape, depth: int) -> Iterator[str]:
        pad, item = "  " * depth, shape_of(shape.item)
        path = f"{section}.{NAME}." if shape.kind == "map" else f"{section}[]."
        for number, entry in enumerate(SAMPLES[section]):
            if number:
                yield ""
            if entry.comment:
                yield f"{pad}# {entry.comment}"
            model = next((choice.model_of(entry.values) for choice in item.meta(Choice)), item.model)
            lead = f"{pad}{entry.name}:" if shape.kind == "map" else f"{pad}-"
            if entry.brief is not None or model is None:
                yield f"{lead} {flow(entry.brief)}"
            elif shape.kind == "map":
                body = [lead, *self.model(model, path, depth + 1, entry)]
                yield from _aside(body, pad) if entry.aside else body
            else:
                yield from _dashed(list(self.model(model, path, depth + 1, entry)), pad)


def _words(option: Option, pad: str) -> Iterator[str]:
    """Description, and a line of facts."""
    facts = [option.type]
    if option.short_forms:
        facts[0] += f" (in short: {' or '.join(option.short_forms)})"
    if option.bounds:
        facts.append(option.bounds)
    if option.required:
        facts.append("required")
    elif option.default not in (None, "", [], {}) and not isinstance(option.default, dict):
        facts.append(f"default {flow(option.default)}")
    elif option.type == "mapping" and option.default is None and not option.is_short_form:
        facts.append("default none")
    for line in (option.doc, " · ".join(facts) if facts != ["mapping"] else ""):
        yield from textwrap.wrap(
            line, WIDTH, initial_indent=f"{pad}# ", subsequent_indent=f"{pad}# ", break_long_words=False, break_on_hyphens=False
        )


def _aside(body: Iterable[str], pad: str) -> Iterator[str]:
    """The lines as comments; blank ones stay blank."""
    for line in body:
        yield f"{pad}# {line[len(pad) :]}" if line else ""


def _dashed(body: list[str], pad: str) -> Iterator[str]:
    """The lines of a list's item: the dash goes before its first key, the comments above that stand at the dash."""
    start = next(number for number, line in enumerate(body) if not line.lstrip().startswith("#"))
    for line in body[:start]:
        yield pad + line.lstrip()
    yield f"{pad}- {body[start].lstrip()}"
    yield from body[start + 1 :]


def main() -> None:
    sys.stdout.write(reference())


if __name__ == "__main__":
    main()
