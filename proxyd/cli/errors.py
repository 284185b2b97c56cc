"""How a command fails: a sentence, a hint, an exit code. Exit codes are part of the interface (interface.md §3)."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from proxyd.cli.output import paint, print_json


class Exit(IntEnum):
    OK = 0
    FAILED = 1            # at run time
    USAGE = 2
    CONFIG_INVALID = 3
    WARNINGS = 4          # with --strict
    NOT_REACHABLE = 5     # no daemon
    RELOAD_REFUSED = 6
    NOT_FOUND = 7
    NOT_PERMITTED = 8


class CliError(Exception):
    """Ends the command. `shown` is text that goes before the sentence (rendered diagnostics)."""

    def __init__(
        self,
        message: str,
        exit: Exit = Exit.FAILED,
        *,
        hint: str = "",
        code: str = "",
        shown: str = "",
        diagnostics: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.exit = exit
        self.hint = hint
        self.code = code
        self.shown = shown
        self.diagnostics = tuple(diagnostics)

    def show(self, *, as_json: bool = False) -> None:
        """Words to standard error; with --json an object to standard output, where a script reads the other answers, too."""
        if as_json:
            print_json(self.as_dict())
            return
        if self.shown:
            print(self.shown.rstrip("\n") + "\n", file=sys.stderr)
        print(f"{paint('error', 'error', sys.stderr)}{f'[{self.code}]' if self.code else ''}: {self}", file=sys.stderr)
        if self.hint:
            print(f"  = help: {self.hint}", file=sys.stderr)

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"ok": False, "exit": int(self.exit), "error": str(self)}
        optional = {"code": self.code, "help": self.hint, "diagnostics": list(self.diagnostics)}
        return found | {key: value for key, value in optional.items() if value}
