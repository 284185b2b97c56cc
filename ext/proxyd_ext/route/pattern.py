"""Regular expressions as text, read into a tree.

The language is the part of Perl's that an automaton decides in time linear in the text: literals, `.`, classes, groups, alternation,
bounded and unbounded repeats, `^` and `$`, `(?i)`. What would need backtracking (back-references, look-around, possessive groups) is
refused, and so is what means different things in different engines. A pattern is asked one question only, whether it occurs, so a lazy
repeat is the same as a greedy one and groups capture nothing.

Matching is over bytes. A character beyond ASCII stands for its UTF-8 bytes, and may not stand in a class. `.` is any byte but a line feed,
`$` is the end of the text alone, classes are ASCII's.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SIZE_MAX = 4096      # characters of a pattern
DEPTH_MAX = 50       # groups within groups
REPEAT_MAX = 1000    # times that {m,n} may ask for


class RegexError(ValueError):
    """What is wrong with a pattern, and at which of its characters (`position`, from 0)."""

    def __init__(self, position: int, what: str) -> None:
        super().__init__(f"{what} (at character {position + 1} of the pattern)")
        self.position = position
        self.what = what


@dataclass(frozen=True, slots=True)
class Byte:
    """One byte of a set: bit n stands for byte n."""

    of: int


@dataclass(frozen=True, slots=True)
class Begin:
    """^"""


@dataclass(frozen=True, slots=True)
class End:
    """$"""


@dataclass(frozen=True, slots=True)
class Chain:
    """One after another; none is the empty text."""

    parts: Sequence[Node]


@dataclass(frozen=True, slots=True)
class Either:
    options: Sequence[Node]


@dataclass(frozen=True, slots=True)
class Repeat:
    part: Node
    least: int
    most: int | None       # None: without end


Node = Byte | Begin | End | Chain | Either | Repeat


def _set_of(characters: str) -> int:
    return sum({1 << ord(character) for character in characters})


def _span(first: int, last: int) -> int:
    """The bytes from `first` to `last`, both included."""
    return (1 << (last + 1)) - (1 << first)


_ALL = _span(0, 255)
_DIGIT = _span(ord("0"), ord("9"))
_UPPER = _span(ord("A"), ord("Z"))
_LOWER = _span(ord("a"), ord("z"))
_WORD = _DIGIT | _UPPER | _LOWER | _set_of("_")
_SPACE = _set_of(" \t\n\r\f\v")
_CLASSES = {"d": _DIGIT, "D": _ALL ^ _DIGIT, "w": _WORD, "W": _ALL ^ _WORD, "s": _SPACE, "S": _ALL ^ _SPACE}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
_CASE = ord("a") - ord("A")


def fold(of: int) -> int:
    """The set with both cases of its letters."""
    return of | (of & _UPPER) << _CASE | (of & _LOWER) >> _CASE


def parse_pattern(pattern: str, *, ignore_case: bool = False) -> Node:
    """The tree of a pattern; RegexError where it is not of this language."""
    if len(pattern) > SIZE_MAX:
        raise RegexError(SIZE_MAX, f"the pattern has more than {SIZE_MAX} characters")
    parser = _Parser(pattern, ignore_case)
    if pattern.startswith("(?i)"):
        parser.at, parser.ignore_case = len("(?i)"), True
    node = parser.either(0)
    if parser.at < len(pattern):
        raise RegexError(parser.at, "there is no '(' for this ')'")
    return node


def literal_prefix(node: Node) -> bytes | None:
    """What every text begins with in which the pattern occurs; None where it may occur anywhere."""
    parts = list(node.parts) if isinstance(node, Chain) else [node]
    if not parts or not isinstance(parts[0], Begin):
        return None
    prefix = bytearray()
    for part in parts[1:]:
        if not isinstance(part, Byte) or part.of.bit_count() != 1:
            break
        prefix.append(part.of.bit_length() - 1)
    return bytes(prefix)


class _Parser:
    """Recursive descent, one method a rule; `at` is the next character."""

    def __init__(self, pattern: str, ignore_case: bool) -> None:
        self.pattern = pattern
        self.ignore_case = ignore_case
        self.at = 0

    def peek(self, count: int = 1) -> str:
        return self.pattern[self.at:self.at + count]

    def take(self, wanted: str) -> bool:
        if self.peek(len(wanted)) != wanted:
            return False
        self.at += len(wanted)
        return True

    def byte(self, of: int) -> Byte:
        return Byte(fold(of) if self.ignore_case else of)

    def either(self, depth: int) -> Node:
        options = [self.sequence(depth)]
        while self.take("|"):
            options.append(self.sequence(depth))
        return options[0] if len(options) == 1 else Either(options)

    def sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.peek() not in ("", "|", ")"):
            part = self.repeated(depth)
            # `ab` in `(?:ab)` and the bytes of one character are parts like any others: a prefix is then found in one list.
            parts += part.parts if isinstance(part, Chain) else [part]
        return parts[0] if len(parts) == 1 else Chain(parts)

    def repeated(self, depth: int) -> Node:
        start = self.at
        part = self.atom(depth)
        bounds = self.bounds()
        if bounds is None:
            return part
        if isinstance(part, Begin | End):
            raise RegexError(start, f"an anchor cannot be repeated: {self.pattern[start]}")
        self.take("?")                     # lazy: the same where only the occurrence counts
        if self.peek() == "+":
            raise RegexError(self.at, "a possessive repeat is not supported")
        if self.peek() in ("*", "?") or (self.peek() == "{"):
            raise RegexError(self.at, "a repeat of a repeat: put the first one in a group")
        return Repeat(part, *bounds)

    def bounds(self) -> tuple[int, int | None] | None:
        """What a repeat behind an atom asks for; None: there is none."""
        for sign, least, most in (("*", 0, None), ("+", 1, None), ("?", 0, 1)):
            if self.take(sign):
                return least, most
        if self.peek() != "{":
            return None
        start = self.at
        end = self.pattern.find("}", start)
        first, comma, second = self.pattern[start + 1:end].partition(",") if end > 0 else ("", "", "")
        if not all(not text or (text.isascii() and text.isdigit()) for text in (first, second)) or not (first or second):
            raise RegexError(start, "not a repeat: {m}, {m,}, {,n} or {m,n} is meant; a brace itself is written \\{")
        least = int(first[:9] or "0")
        most = None if comma and not second else int((second if comma else first)[:9])
        if max(least, most or 0) > REPEAT_MAX:
            raise RegexError(start, f"a repeat may ask for {REPEAT_MAX} times at most")
        if most is not None and least > most:
            raise RegexError(start, "the repeat's first number is larger than its second")
        self.at = end + 1
        return least, most

    def atom(self, depth: int) -> Node:
        start = self.at
        character = self.pattern[start]
        if character in "*+?{":
            raise RegexError(start, f"there is nothing to repeat before {character}")
        self.at += 1
        if character == "(":
            return self.group(start, depth + 1)
        if character == "[":
            return Byte(self.bracket(start))
        if character == ".":
            return Byte(_ALL ^ _set_of("\n"))
        if character == "^":
            return Begin()
        if character == "$":
            return End()
        if character == "\\":
            return self.byte(self.escape(start))
        if character < "\x80":
            return self.byte(_set_of(character))
        return Chain([Byte(1 << byte) for byte in _utf8(character, start)])

    def group(self, start: int, depth: int) -> Node:
        if depth > DEPTH_MAX:
            raise RegexError(start, f"more than {DEPTH_MAX} groups within one another")
        outer = self.ignore_case
        if self.take("?"):
            if self.take("i:"):
                self.ignore_case = True
            elif not self.take(":"):
                raise RegexError(start, self.refused_group())
        inner = self.either(depth)
        self.ignore_case = outer
        if not self.take(")"):
            raise RegexError(start, "there is no ')' for this '('")
        return inner if not isinstance(inner, Begin | End) else Either([inner])   # a group may be repeated, an anchor may not

    def refused_group(self) -> str:
        if self.peek() in ("=", "!") or self.peek(2) in ("<=", "<!"):
            return "look-around is not supported"
        if self.peek(2) in ("P=",) or self.peek() == "(":
            return "back-references are not supported"
        if self.peek() in ("P", "<", "'"):
            return "named groups are not supported: nothing is captured"
        if self.peek(2) == "i)":
            return "(?i) may stand at the very beginning only; (?i:…) may stand anywhere"
        return "an unknown kind of group: there are (…), (?:…), (?i:…), and (?i) at the very beginning"

    def bracket(self, start: int) -> int:
        """The set of a class whose '[' is at `start`."""
        negated = self.take("^")
        of, first = 0, True
        while first or self.peek() != "]":
            if not self.peek():
                raise RegexError(start, "there is no ']' for this '['")
            if self.peek(2) in ("[:", "[=", "[."):
                raise RegexError(self.at, "named classes are not supported: write \\d, \\w, \\s or the ranges")
            of |= self.bracket_item()
            first = False
        self.at += 1
        of = fold(of) if self.ignore_case else of
        return _ALL ^ of if negated else of

    def bracket_item(self) -> int:
        start = self.at
        low = self.bracket_byte()
        if self.peek() != "-" or self.peek(2) in ("-", "-]"):
            return low
        self.at += 1
        high = self.bracket_byte()
        if low.bit_count() != 1 or high.bit_count() != 1:
            raise RegexError(start, "a range goes from one character to one other")
        if low > high:
            raise RegexError(start, "the range's first character comes after its last")
        return _span(low.bit_length() - 1, high.bit_length() - 1)

    def bracket_byte(self) -> int:
        start = self.at
        character = self.peek()
        self.at += 1
        if character == "\\":
            return self.escape(start)
        if not character or character > "\x7f":
            raise RegexError(start, "a class holds ASCII characters only; bytes are written \\xHH")
        return _set_of(character)

    def escape(self, start: int) -> int:
        """The set that the escape stands for whose backslash is at `start`."""
        character = self.peek()
        self.at += 1
        if character in _CLASSES and character:
            return _CLASSES[character]
        if character in _CONTROLS and character:
            return _set_of(_CONTROLS[character])
        if character == "x":
            digits = self.peek(2)
            self.at += 2
            if len(digits) == 2 and set(digits) <= set("0123456789abcdefABCDEF"):
                return 1 << int(digits, 16)
            raise RegexError(start, "\\x needs two hexadecimal digits")
        if character.isdigit():
            raise RegexError(start, "back-references are not supported; a byte is written \\xHH")
        if character in ("b", "B"):
            raise RegexError(start, "word boundaries are not supported")
        if not character:
            raise RegexError(start, "a backslash at the end: one itself is written \\\\")
        if character.isalpha() or not character.isascii():
            raise RegexError(start, f"an unknown escape: \\{character}")
        return _set_of(character)


def _utf8(character: str, position: int) -> bytes:
    try:
        return character.encode()
    except UnicodeEncodeError:
        raise RegexError(position, "this is no character of Unicode") from None
