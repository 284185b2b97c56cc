"""Broken configs without end: examples, with lines and scalars changed as people, editors and generators do it.

A mutation takes a text and a source of chance, and gives bytes: what a file may hold is not always text.
"""
from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

from tests.support.corpus import FOLDER

ROOT = Path(__file__).parents[2]
Mutation = Callable[[str, random.Random], str]

SCALARS = (
    "", "~", "null", "true", "no", "0", "-1", "1e999", "0x7fffffffffffffff", "9" * 40, "9" * 5000, ".nan", ".inf", "on", "{}", "[]", "[[]]",
    "{a: b}", "*x", "&x y", "!!int 3", "'", '"', "|", ">", "@", "`", "%", "#", ": :", "${", "${}", "${env:}", "${env:PATH}", "${file:/}",
    "${file:}", "${file:/dev/null}", "${x:y}", "$${a}", "10s", "1e3s", "-5s", "99999999999d", "1.5B", "0%", "101%", "::", "[::1]:80", ":0",
    "unix:", "unix:/", "unix:relative", "/", "/*", "*", "*.*", "GET", "GET,POST", "GET /x HTTP/1.1", "a b c", "none", "auto", "\u202e",
    "\ud7ff", "\U0001f600", "e\u0301" * 50, "x" * 300, "\u0000", "\u0007", "\x85", "\u2028", "\ufeff", "tcp://:1", "tls://[::]:1", "http://[",
    "{regex: '('}", "{regex: '(a{9}){9}{9}'}", "\"\\ud800\"", "\"\\x00\"", "\"\\n\"", "2001-01-01", "12:30:45", "=", "<<", "? x",
)


def texts() -> list[str]:
    """Whole configs, right and wrong."""
    paths = sorted((ROOT / "config").glob("**/*.yaml")) + sorted(FOLDER.glob("*.yaml"))
    return [path.read_text("utf-8", "replace") for path in paths if path.name != "reference.yaml"]


def drop_a_line(text: str, chance: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    del lines[chance.randrange(len(lines)) : chance.randrange(len(lines)) + 1]
    return "".join(lines)


def repeat_a_line(text: str, chance: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    lines.insert(chance.randrange(len(lines)), chance.choice(lines))
    return "".join(lines)


def swap_lines(text: str, chance: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return "".join(lines)


def shift_a_line(text: str, chance: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    at = chance.randrange(len(lines))
    lines[at] = chance.choice((" ", "  ", "\t", "    ")) + lines[at] if chance.random() < 0.5 else lines[at].lstrip()
    return "".join(lines)


def _words(text: str) -> list[re.Match[str]]:
    return list(re.finditer(r"[^\s{}\[\],:#\"']+", text))


def change_a_word(text: str, chance: random.Random) -> str:
    words = _words(text)
    if not words:
        return text
    word = chance.choice(words)
    other = chance.choice(SCALARS) if chance.random() < 0.7 else chance.choice(words)[0]
    return text[: word.start()] + other + text[word.end() :]


def misspell_a_word(text: str, chance: random.Random) -> str:
    words = _words(text)
    if not words:
        return text
    word = chance.choice(words)
    at = chance.randrange(word.start(), word.end())
    return text[:at] + chance.choice(("", text[at] * 2, "x", text[at].swapcase())) + text[at + 1 :]


def put_in_a_character(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice("{}[]:,#&*!|>'\"%@`?-=\t\r\n\x00\x07\x1b\x85\u2028\ufeff\U0001f600") + text[at:]


def cut_off(text: str, chance: random.Random) -> str:
    return text[: chance.randrange(len(text) + 1)]


def nest(text: str, chance: random.Random) -> str:
    depth = chance.choice((3, 31, 40, 3000))
    words = _words(text)
    if not words:
        return text
    word = chance.choice(words)
    opened, closed = chance.choice((("[", "]"), ("{a: ", "}")))
    return text[: word.start()] + opened * depth + word[0] + closed * depth + text[word.end() :]


def other_line_ends(text: str, chance: random.Random) -> str:
    return text.replace("\n", chance.choice(("\r\n", "\r", "\n\n", "\x85")))


def splice(text: str, chance: random.Random) -> str:
    other = chance.choice(texts())
    return text + chance.choice(("", "\n", "---\n", "...\n")) + other


MUTATIONS: tuple[Mutation, ...] = (
    drop_a_line, repeat_a_line, swap_lines, shift_a_line, change_a_word, change_a_word, misspell_a_word, misspell_a_word,
    put_in_a_character, cut_off, nest, other_line_ends, splice,
)


def mutant(text: str, chance: random.Random) -> bytes:
    """One to four mutations, and sometimes bytes that are no text."""
    for _ in range(chance.randint(1, 4)):
        if text:
            text = chance.choice(MUTATIONS)(text, chance)
    content = bytearray(text.encode("utf-8", "surrogatepass"))
    if content and chance.random() < 0.1:
        for _ in range(chance.randint(1, 3)):
            content[chance.randrange(len(content))] = chance.randrange(256)
    if chance.random() < 0.05:
        content[:0] = chance.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff"))
    return bytes(content)
