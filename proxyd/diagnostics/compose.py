"""YAML text → a tree of nodes with positions, every problem found on the way, and nothing that grows without bound.

Built from PyYAML's *events*, not from its composed nodes: the composer recurses (in C, without a check) before anyone could look at
the depth, and resolves duplicate keys and aliases without a word. The loop below keeps its own stack, so depth, size and what aliases
expand to are checked while the tree grows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)

from proxyd.diagnostics.diagnostic import Diagnostic, Source, Span
from proxyd.diagnostics.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 500_000  # after aliases are expanded
_NEAR = 200  # characters of a line, on each side of a mistake, that are looked at for what was meant

_LOADER: type[yaml.CSafeLoader] | type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # YAML 1.2 §5.1, without a mark inside
_WORDING = {
    "found character that cannot start any token": "a value cannot begin with this character",
    "found unexpected end of stream": "the quotes are never closed",
    "mapping values are not allowed in this context": "a `:` where no key can stand",
    "did not find expected alphabetic or numeric character": "`*` or `&` begins an alias or an anchor, and this is none",
    "could not find expected ':'": "a line without `key: value`",
    "did not find expected key": "the indentation does not fit, or a bracket or quote is left open above",
    "did not find expected '-' indicator": "the items of a list and the keys of a mapping do not mix at one indentation",
    "did not find expected ',' or '}'": "`,` or `}` expected",
    "did not find expected ',' or ']'": "`,` or `]` expected",
    "did not find expected node content": "a value expected",
    "found a tab character that violates indentation": "a tab in the indentation",
    "found undefined tag handle": "tags (`!…`) are not part of this format",
}

# Where these are noticed is far behind what is wrong: the place where the token, or the line, began is shown.
_AT_THE_BEGINNING = frozenset(
    {"found unexpected end of stream", "did not find expected alphabetic or numeric character", "could not find expected ':'"}
)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not been seen yet."""

    node: MappingNode | SequenceNode
    anchor: str | None
    key: ScalarNode | None = None
    skip: bool = False  # the value to come belongs to a key that was refused
    size: int = 1
    height: int = 1


@dataclass(frozen=True, slots=True)
class _Known:
    """An anchored node, with what it counts for when an alias repeats it."""

    node: Node | None
    size: int
    height: int


def compose(source: Source) -> tuple[Node | None, list[Diagnostic]]:
    """The document's tree (None when it is empty or broken) and what is wrong with it. Never raises on account of the text."""
    if len(source.text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return None, [Diagnostic("PXD-004", f"{source.name} is larger than {MAX_BYTES >> 20} MiB")]
    bad = _FORBIDDEN.search(source.text)
    if bad:
        span = _at(source, bad.start())
        return None, [
            Diagnostic(
                "PXD-002",
                f"the character U+{ord(bad[0]):04X} cannot stand in YAML",
                span,
                "remove it, or write it as an escape in double quotes",
            )
        ]
    composer = _Composer(source)
    try:
        root = composer.run(yaml.parse(source.text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        return None, [*composer.found, _syntax(source, error)]
    except yaml.YAMLError as error:
        return None, [*composer.found, Diagnostic("PXD-003", f"not YAML: {error}")]
    except _Stop:
        return None, composer.found
    return root, composer.found


class _Stop(Exception):
    """A bound was passed; the finding stands in the list."""


class _Composer:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: list[Diagnostic] = []
        self.stack: list[_Open] = []
        self.anchors: dict[str, _Known] = {}
        self.root: Node | None = None
        self.nodes = 0

    def run(self, events: Iterator[Event]) -> Node | None:
        documents = 0
        for event in events:
            if isinstance(event, ScalarEvent):
                self.check_tag(event)
                node = ScalarNode(self.span(event), event.value, not event.style)  # None or '', as the loader is Python's or C's
                self.add(node, event, 1, 0, event.anchor)
            elif isinstance(event, CollectionStartEvent):
                self.check_tag(event)
                self.open(event)
            elif isinstance(event, CollectionEndEvent):
                done = self.stack.pop()
                done.node.span = self.closed(done.node.span, self.span(event))
                self.add(done.node, event, done.size, done.height, done.anchor)
            elif isinstance(event, AliasEvent):
                self.alias(event)
            elif isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.stop("PXD-005", "a second document begins here", event, "one file is one document: remove `---`, or use `include`")
        return self.root

    def open(self, event: CollectionStartEvent) -> None:
        span = self.span(event)
        if len(self.stack) >= MAX_DEPTH:
            self.stop("PXD-004", f"nested more than {MAX_DEPTH} levels deep", event)
        if self.stack and isinstance(self.stack[-1].node, MappingNode) and self.stack[-1].key is None:
            help = _flow_hint(self.source, span) or "put it in quotes if it is text"
            self.found.append(Diagnostic("PXD-003", "a key must be text, not a list or a mapping", span, help))
        node = MappingNode(span) if isinstance(event, MappingStartEvent) else SequenceNode(span)
        if event.anchor:
            self.anchors[event.anchor] = _Known(None, 0, 0)
        self.stack.append(_Open(node, event.anchor))

    def alias(self, event: yaml.AliasEvent) -> None:
        name = event.anchor or ""
        known = self.anchors.get(name)
        if known is None or known.node is None:
            what = "is not defined above" if known is None else "contains itself"
            help = f'put it in quotes if it is text: "*{name}"' if known is None else ""
            self.stop("PXD-005", f"the alias `*{name}` {what}", event, help)
            return
        if len(self.stack) + known.height > MAX_DEPTH:
            self.stop("PXD-004", f"nested more than {MAX_DEPTH} levels deep through the alias `*{name}`", event)
        self.add(known.node, event, known.size, known.height, None)

    def add(self, node: Node, event: Event, size: int, height: int, anchor: str | None) -> None:
        """A finished node takes its place: as the root, an item, a key or a value."""
        if anchor:
            self.anchors[anchor] = _Known(node, size, height)
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        top.size += size
        if height >= top.height:
            top.height = height + 1
        # each open collection holds at least what its innermost one does, so looking at the innermost and the running count is enough
        self.nodes += size if isinstance(event, AliasEvent) else 1
        if self.nodes > MAX_NODES or top.size > MAX_NODES:
            self.stop(
                "PXD-004", f"more than {MAX_NODES} values" + (", repeated by aliases" if isinstance(event, AliasEvent) else ""), event
            )
        if isinstance(top.node, SequenceNode):
            top.node.items.append(node)
        elif top.key is not None:
            if not top.skip:
                top.node.entries[top.key.text] = (top.key, node)
            top.key, top.skip = None, False
        else:
            self.take_key(top, top.node, node)

    def take_key(self, top: _Open, mapping: MappingNode, node: Node) -> None:
        if not isinstance(node, ScalarNode):
            top.key, top.skip = ScalarNode(node.span, ""), True
            return
        top.key = node
        first = mapping.entries.get(node.text)
        if first is not None:
            top.skip = True
            help = f"first defined on line {first[0].span.line + 1}; plain YAML would silently keep only the last one"
            self.found.append(Diagnostic("PXD-023", f"duplicate key `{node.text[:60]}`", node.span, help))

    def check_tag(self, event: ScalarEvent | CollectionStartEvent) -> None:
        if event.tag is not None:
            span = self.span(event)
            help = "remove it; quotes make text of anything"
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:60]
            self.found.append(Diagnostic("PXD-005", f"the tag `{tag}`: tags are not part of this format", span, help))

    def span(self, event: Event) -> Span:
        """The event's own text."""
        start, end = event.start_mark, event.end_mark
        assert start is not None
        assert end is not None  # a parser's events carry both
        return Span(self.source, start.line, start.column, end.line, end.column)

    def closed(self, start: Span, end: Span) -> Span:
        """A collection in brackets reaches to its bracket; one in lines is pointed at by its beginning."""
        bracketed = (end.line, end.column) != (end.end_line, end.end_column)
        return Span(self.source, start.line, start.column, end.end_line, end.end_column) if bracketed else start

    def stop(self, code: str, message: str, event: Event, help: str = "") -> None:
        self.found.append(Diagnostic(code, message, self.span(event), help))
        raise _Stop


def _at(source: Source, index: int) -> Span:
    before = Source("", source.text[:index]).lines
    line, column = len(before) - 1, len(before[-1])
    return Span(source, line, column, line, column + 1)


def _syntax(source: Source, error: yaml.MarkedYAMLError) -> Diagnostic:
    """A scanner's or parser's complaint in plain words, with the two traps of YAML explained where they are what happened."""
    mark = error.problem_mark or error.context_mark
    problem = (error.problem or "not YAML").strip()
    if mark is None:
        return Diagnostic("PXD-003", problem)
    line = min(mark.line, max(len(source.lines) - 1, 0))
    text = source.lines[line] if source.lines else ""
    column = min(mark.column, len(text))
    context = error.context_mark
    if context is not None and problem in _AT_THE_BEGINNING:
        line, column = context.line, context.column
        text = source.lines[line]
    span = Span(source, line, column, line, column + 1)
    message = _WORDING.get(problem, problem)
    here = text[column : column + 1]
    help = _flow_hint(source, span)
    if help:
        if here == "*":
            message = "`*` at the beginning of a value means an alias in YAML"
    elif here == "\t":
        message, help = "a tab in the indentation", "YAML indents with spaces"
    elif here in "@`%" and here:
        help = f"`{here}` has a meaning of its own there; put the value in quotes"
    else:
        help = _syntax_help(source, problem, span, context)
    return Diagnostic("PXD-003", message, span, help)


def _syntax_help(source: Source, problem: str, span: Span, context: yaml.Mark | None) -> str:
    if problem == "mapping values are not allowed in this context":
        return "put the value in quotes if it holds `: `, or break the line and indent"
    if problem == "could not find expected ':'":
        return "write a colon and a blank behind the key, like `listen: :8080`"
    if problem == "found unexpected end of stream":
        return "add the closing quote"
    if context is None or (context.line, context.column) == (span.line, span.column):
        return ""
    began = f"line {context.line + 1}, column {context.column + 1}"
    if not problem.startswith("did not find expected ','"):
        return f"what it belongs to began on {began}"
    if any(re.search(r"(?:^|\s)//", line) for line in source.lines[context.line : span.line + 1]):
        return "a comment begins with `#`"
    quotes = "; a value that holds `: ` is put in quotes" if source.lines[span.line][span.column : span.column + 1] == ":" else ""
    return f"the bracket of {began} is still open here{quotes}"


def _flow_hint(source: Source, span: Span) -> str:
    """Help for what must be quoted: `*…` anywhere, `${…}` and `:80` inside brackets; empty when none is near."""
    line = source.lines[span.line] if span.line < len(source.lines) else ""
    start = max(span.column - _NEAR, 0)  # what is searched below takes the square of its length
    text, column = line[start : span.column + _NEAR], span.column - start
    star = re.match(r"\*[^\s,\]}]*", text[column:])
    if star:
        return f'put it in quotes: "{star[0]}"'
    for found in re.finditer(r"(?:[^\s,\[{:\"']|:(?!\s))*\$\{[^}\s]*\}[^\s,\]}\"']*|(?<=[\[,{ ]):[^\s,\]}\"']+", text):
        if found.start() <= column <= found.end() and text[: found.start()].rstrip().endswith((":", ",", "[", "{")):
            return f'put it in quotes: "{found[0]}"'
    return ""
