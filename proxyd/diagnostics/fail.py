"""How a validator of the model says what is wrong: one exception that carries code, sentence and help through pydantic."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

from proxyd.diagnostics.nodes import SecretText
from proxyd.diagnostics.scalars import written


def fail(code: str, message: str, help: str = "", *, at: tuple[str | int, ...] = (), key: bool = False) -> PydanticCustomError:
    """An error to raise in a validator. `at`: a path below the validated value that is to be pointed at; `key`: at its key."""
    return PydanticCustomError(code, "{message}", {"message": message, "help": help, "at": list(at), "key": key})


def shown(value: object) -> str:
    """A wrong value inside a message: as written, quoted, shortened, never a secret."""
    if isinstance(value, SecretText):
        return "`***`"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = written(value)
    if text == "":
        return "empty text"
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:61])
    return f"`{text[:60]}…`" if len(text) > 60 else f"`{text}`"
