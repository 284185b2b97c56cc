"""`${name}`, `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` in values; `$${` writes a literal `${`.

Replacement works on the scalars of the tree, so that it can neither change the structure nor lose a position. Text from the environment
or from a file marks the whole scalar as a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from proxyd.diagnostics.diagnostic import Diagnostic, Span
from proxyd.diagnostics.nodes import MappingNode, Node, ScalarNode, SequenceNode
from proxyd.diagnostics.suggest import closest

MAX_FILE = 64 * 1024
MAX_TEXT = 1024 * 1024  # of one scalar: variables that hold variables could double without end
MAX_TOTAL = 16 * 1024 * 1024  # of all scalars
MAX_DEPTH = 32
_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")


class Interpolator:
    """Replaces references in place; findings collect in `found`."""

    def __init__(self, variables: MappingNode | None, env: Mapping[str, str], found: list[Diagnostic]) -> None:
        self.env, self.found = env, found
        self.variables: dict[str, ScalarNode] = {}
        self.raw: dict[str, ScalarNode] = {
            name: value for name, (_, value) in (variables.entries.items() if variables else ()) if isinstance(value, ScalarNode)
        }
        self.open: set[int] = set()  # scalars whose replacement has begun and not ended: what they need is being looked up
        self.size = 0
        self.done: set[int] = set()

    def replace(self, node: Node) -> None:
        """Replace every reference below `node`; a node that aliases repeat is done once."""
        if isinstance(node, ScalarNode) and "${" not in node.text:
            return
        if id(node) in self.done:
            return
        self.done.add(id(node))
        match node:
            case ScalarNode():
                self.scalar(node)
            case SequenceNode():
                for item in node.items:
                    self.replace(item)
            case MappingNode():
                for _, value in node.entries.values():
                    self.replace(value)

    def scalar(self, node: ScalarNode) -> None:
        if node.broken:
            return

        def put(reference: re.Match[str]) -> str:
            if reference[1] is None:
                return "${"
            if not reference[2]:
                return self.broken(node, reference[0], "PXD-007", "`${` without its `}`", "write `$${` for a literal `${`")
            return self.lookup(node, reference[0], reference[1])

        self.open.add(id(node))
        text = _REFERENCE.sub(put, node.text)
        self.open.discard(id(node))
        self.size += len(text)
        if len(text) > MAX_TEXT or self.size > MAX_TOTAL:
            what = "the text is longer than 1 MiB" if len(text) > MAX_TEXT else "all texts together are longer than 16 MiB"
            text = self.broken(node, "", "PXD-004", f"{what} once variables are put in", "")
        node.text = text

    def lookup(self, node: ScalarNode, reference: str, name: str) -> str:
        kind, colon, rest = name.partition(":")
        if not colon:
            return self.variable(node, reference, name)
        if kind == "env":
            return self.environment(node, reference, rest)
        if kind == "file":
            return self.file(node, reference, rest)
        help = "write `${name}`, `${env:NAME}`, `${env:NAME:-default}` or `${file:PATH}`"
        return self.broken(node, reference, "PXD-007", f"`{kind[:40]}:` is not a source of text", help)

    def variable(self, node: ScalarNode, reference: str, name: str) -> str:
        source = self.raw.get(name)
        if source is None:
            near = closest(name, self.raw)
            defined = f"defined in `vars`: {', '.join(sorted(self.raw)[:20])}" if self.raw else "`vars` defines none"
            hint = (f"did you mean `{near}`? " if near else "") + f"{defined}; for the environment write `${{env:{name or 'NAME'}}}`"
            return self.broken(node, reference, "PXD-007", f"the variable `{name[:60]}` is not defined", hint)
        if id(source) in self.open:
            return self.broken(node, reference, "PXD-007", f"the variable `{name}` is made of itself", "write out one of them")
        if len(self.open) > MAX_DEPTH:
            return self.broken(node, reference, "PXD-004", f"variables that hold variables, more than {MAX_DEPTH} levels deep", "")
        self.replace(source)
        node.secret |= source.secret
        if source.broken:
            node.broken = True  # what is wrong with it is told where it stands
        return source.text

    def environment(self, node: ScalarNode, reference: str, rest: str) -> str:
        name, default, fallback = rest.partition(":-")
        if not re.match(r"[A-Za-z_][A-Za-z0-9_]*\Z", name):
            return self.broken(node, reference, "PXD-007", f"`{name[:60]}` cannot be the name of an environment variable", "")
        value = self.env.get(name, "")
        node.secret |= bool(value)  # the default stands in the config for all to read
        if value or default:
            return value or fallback
        state = "empty" if name in self.env else "not set"
        return self.broken(
            node, reference, "PXD-008", f"the environment variable `{name}` is {state}", f"set it, or give a default: `${{env:{name}:-…}}`"
        )

    def file(self, node: ScalarNode, reference: str, rest: str) -> str:
        node.secret = True
        path = Path(node.span.source.folder, rest)
        try:
            if not rest or "\0" in rest:
                raise OSError("no path is given")
            with path.open("rb") as file:
                content = file.read(MAX_FILE + 1)
            if len(content) > MAX_FILE:
                raise OSError(f"it is larger than {MAX_FILE // 1024} KiB")
            return content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            reason = "it is not UTF-8 text"
        except OSError as error:
            reason = error.strerror or str(error)
        return self.broken(node, reference, "PXD-009", f"cannot read the file `{path}`: {reason}", "paths are relative to the config file")

    def broken(self, node: ScalarNode, reference: str, code: str, message: str, help: str) -> str:
        node.broken = True
        self.found.append(Diagnostic(code, message, _within(node.span, reference), help))
        return ""


def _within(span: Span, reference: str) -> Span:
    """Where in a scalar the reference stands, as far as its text is written there literally."""
    lines = span.source.lines
    for line in range(span.line, min(span.end_line, len(lines) - 1) + 1):
        start = lines[line].find(reference, span.column if line == span.line else 0) if reference else -1
        if start >= 0:
            return Span(span.source, line, start, line, start + len(reference))
    return span
