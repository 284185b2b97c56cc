"""What `proxyd explain` tells: about an option, from the model; about a code, from the registry."""

from __future__ import annotations

import re

from proxyd.config.codes import CODES, Code
from proxyd.config.options import NAME, Option, options
from proxyd.diagnostics.suggest import closest


def explain(path: str) -> list[Option]:
    """The option at a path as users write it: `upstreams.api.health.active.interval`, `routes[0].to`; none when there is none, several
    where it is not the same everywhere."""
    wanted = _steps(path)
    return [option for option in options() if _leads(_steps(option.path), wanted)]


def _leads(known: list[str], wanted: list[str]) -> bool:
    return len(known) == len(wanted) and all(a in (b, NAME) for a, b in zip(known, wanted, strict=True))


def find(text: str) -> list[Option]:
    """The option at `text`, else every option whose path ends like it: `interval` is found without the way to it."""
    exact = explain(text)
    if exact:
        return exact
    wanted = _steps(text)
    return [option for option in options() if wanted and _steps(option.path)[-len(wanted) :] == wanted]


def suggest(text: str) -> str | None:
    """The path of the option that a misspelt one most likely stands for."""
    paths = {option.path.replace("[]", ""): option.path for option in options()}
    near = closest(text, paths)
    if near is None:
        ends = {path.rpartition(".")[2]: path for path in paths}
        end = closest(_steps(text)[-1] if _steps(text) else text, ends)
        near = ends[end] if end else None
    return paths[near] if near else None


def explain_code(code: str) -> Code | None:
    """`PXD-021`, also as `021` or `pxd-21`."""
    found = re.match(r"(?:pxd-?)?([0-9]{1,3})\Z", code.strip(), re.IGNORECASE)
    return CODES.get(f"PXD-{int(found[1]):03}") if found else None


def _steps(path: str) -> list[str]:
    """Names only; indices and the brackets of lists say nothing here."""
    return [step for step in re.sub(r"\[[^\]]*\]", "", path.strip()).split(".") if step]
