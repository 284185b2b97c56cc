"""The options of commands that look at requests: the filters of the admin API, in the words of a command line."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from proxyd.records.filters import WORDS

Function = TypeVar("Function", bound=Callable[..., Any])

METAVARS = {"status": "STATUS", "host": "HOST", "path": "PATH", "client": "IP", "server": "ADDRESS", "method": "METHOD",
            "slower_than": "DURATION", "kind": "KIND", "grep": "TEXT"}
"""Of the others it is NAME."""


def filter_options(function: Function) -> Function:
    """`--status 5xx --slower-than 1s`: an option for each filter."""
    for name, meaning in reversed(list(WORDS.items())):
        option = f"--{name.replace('_', '-')}"
        if name == "error":
            function = click.option(option, name, is_flag=False, flag_value="any", metavar="[TYPE]", help=f"{meaning}.")(function)
        else:
            function = click.option(option, name, metavar=METAVARS.get(name, "NAME"), help=f"{meaning}.")(function)
    return function
