from collections.abc import Iterable, Mapping
from typing import Literal

class Rules:
    """What an access log does with a record before it is a line: which ones it takes, what it hides in them, what it puts in front."""

    def __init__(
        self,
        *,
        keep: Mapping[str, int] | None = None,
        slow_us: int | None = None,
        hide: Iterable[str] = (),
        parameters: Iterable[str] = (),
        frame: Literal["none", "file", "local", "rfc5424"] = "none",
        machine: str = "",
    ) -> None: ...
