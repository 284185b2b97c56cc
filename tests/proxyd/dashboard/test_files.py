"""What browsers are sent: whole, from here, and never code inside of text."""
from __future__ import annotations

import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import pytest

import proxyd.dashboard
from proxyd.dashboard.files import INDEX, TYPES, all_files

ROOT = Path(__file__).parents[3]
STATIC = Path(proxyd.dashboard.__file__).parent / "static"
TEXTS = {name: file.body.decode() for name, file in all_files().items()}
SCRIPTS = {name: text for name, text in TEXTS.items() if name.endswith(".js")}


class Page(HTMLParser):
    """The elements of a page with their attributes, and text inside of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside in {"script", "style"} and data.strip():
            self.inline.append(data)


def index() -> Page:
    page = Page()
    page.feed(TEXTS[INDEX])
    return page


def test_all_that_is_there_is_served() -> None:
    there = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()}
    assert set(all_files()) == there
    assert INDEX in there
    assert all(file.content_type in TYPES.values() and re.fullmatch(r'"[0-9a-f]{16}"', file.etag) for file in all_files().values())
    assert len({file.etag for file in all_files().values()}) == len(there)


def test_they_are_in_the_wheel() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["proxyd.dashboard"]
    package = STATIC.parent
    packed = {path for pattern in data for path in package.glob(pattern) if path.is_file()}
    assert {path.relative_to(STATIC).as_posix() for path in packed} == set(all_files())


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    page = index()
    assert page.inline == []
    for _, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in ("src", "href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("#", "/ui/"))
            if target.startswith("/ui/"):
                assert target.removeprefix("/ui/") in TEXTS


def test_the_page_can_be_read_by_everybody() -> None:
    elements = index().elements
    assert next(attributes for tag, attributes in elements if tag == "html")["lang"] == "en"
    assert {"main", "nav", "noscript"} <= {tag for tag, _ in elements}
    assert ("a", {"class": "skip", "href": "#main"}) in elements
    assert [attributes for tag, attributes in elements if tag == "div" and attributes.get("aria-live") == "polite"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_modules_import_what_is_there(name: str) -> None:
    for target in re.findall(r'^import .*?from "([^"]+)";$', SCRIPTS[name], re.MULTILINE | re.DOTALL):
        path = PurePosixPath("/", PurePosixPath(name).parent, target)
        parts: list[str] = []
        for part in path.parts[1:]:
            parts = parts[:-1] if part == ".." else parts if part == "." else [*parts, part]
        assert "/".join(parts) in SCRIPTS, target


@pytest.mark.parametrize("name", SCRIPTS)
def test_text_is_never_read_as_html_or_code(name: str) -> None:
    unsafe = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|setAttribute\(\"style\""
    found = re.search(unsafe, SCRIPTS[name])
    assert found is None


def test_nothing_names_another_host() -> None:
    allowed = {"http://www.w3.org/2000/svg"}
    for name, text in TEXTS.items():
        named = {url for url in re.findall(r"https?://[\w.]+[^\s\"'`$]*", text) if ".example" not in url and not url.startswith("http://${")}
        assert named <= allowed, name


def test_every_class_of_a_page_is_drawn() -> None:
    """A class that no style has is a slip in one of the two."""
    styles = " ".join(text for name, text in TEXTS.items() if name.endswith(".css"))
    known = set(re.findall(r"\.([a-z][\w-]*)", styles))
    used = {word for text in SCRIPTS.values() for classes in re.findall(r'class: "([^"`$]*)"', text) for word in classes.split()}
    assert used - known == set()


def contrast(one: str, two: str) -> float:
    """WCAG 2.2, "contrast ratio"."""

    def luminance(color: str) -> float:
        shares = [int(color[at:at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


THEMES = [
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", body))
    for body in re.findall(r":root(?:\[data-theme=\"dark\"\]|:not\(\[data-theme\]\))? \{(.*?)\}", TEXTS["base.css"], re.DOTALL)
]


def test_both_ways_to_the_dark_theme_are_one() -> None:
    light, dark, preferred = THEMES
    assert dark == preferred
    assert light.keys() == dark.keys()


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize(("text", "ground"), [
    *((text, ground) for text in ("text", "muted") for ground in ("page", "card", "sunk")),
    *((text, ground) for text in ("good", "warn", "bad", "accent") for ground in ("page", "card", f"{text}-soft")),
    ("on-accent", "accent"), ("card", "bad"), ("card", "text"),
])
def test_text_stands_out(theme: int, text: str, ground: str) -> None:
    assert contrast(THEMES[theme][text], THEMES[theme][ground]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("line", ["line-strong", "series-1", "series-2", "series-3", "accent"])
def test_lines_that_mean_something_stand_out(theme: int, line: str) -> None:
    assert contrast(THEMES[theme][line], THEMES[theme]["card"]) >= 3
