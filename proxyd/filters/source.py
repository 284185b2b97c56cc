"""A filter's file, loaded: in a worker, and in a test of the user's.

The file is run as a module. Its folder comes first among the places of imports, so that modules beside it can be imported; they belong to
the filter: when one of them changes, it is loaded again (in a new process, so nothing of the old version is left).
"""
from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from proxyd.filters.protocol import HOOKS, HookWord

Hook = Callable[..., Any]
FILES_MAX = 1_000          # that are watched
FILE_MAX = 16_777_216      # bytes of one that are looked at


class SourceError(Exception):
    """The file cannot be used as a filter. The message names file and line."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace


@dataclass(frozen=True, slots=True)
class Source:
    path: Path
    module: ModuleType
    hooks: dict[HookWord, Hook]


def load_source(path: Path, name: str) -> Source:
    """Run the file as the module `name`. SourceError: it does not load, or has no hook."""
    folder = str(path.parent)
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SourceError(f"{path}: its name does not end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:       # a filter that calls sys.exit() at its top does not load, either
        del sys.modules[name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise SourceError(told(error, folder), trace_of(error, str(path))) from error
    return Source(path, module, _hooks(path, module))


def _hooks(path: Path, module: ModuleType) -> dict[HookWord, Hook]:
    found: dict[HookWord, Hook] = {}
    for word, arguments in zip(HOOKS, (1, 2), strict=True):
        hook = getattr(module, f"on_{word}", None)
        if hook is None:
            continue
        if not callable(hook):
            raise SourceError(f"{path}: on_{word} is no function")
        try:
            inspect.signature(hook).bind(*range(arguments))
        except TypeError:
            takes = "(request)" if arguments == 1 else "(request, response)"
            raise SourceError(f"{_place(hook, path)}: on_{word} takes {takes}") from None
        found[word] = hook
    if not found:
        raise SourceError(f"{path}: neither on_request nor on_response is defined")
    return found


def _place(hook: Hook, path: Path) -> str:
    code = getattr(hook, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else str(path)


def files_of(source: Source) -> dict[str, str]:
    """Path -> digest of the file and of each module imported from its folder so far."""
    paths = {str(source.path)}
    folder = str(source.path.parent) + os.sep
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.startswith(folder) and f"{os.sep}site-packages{os.sep}" not in path:
            paths.add(path)
    return {path: digest(path) for path in sorted(paths)[:FILES_MAX]}


def digest(path: str) -> str:
    """Of the content; "" when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read(FILE_MAX)).hexdigest()
    except OSError:
        return ""


def told(error: BaseException, folder: str) -> str:
    """An exception in one line: the place in the user's own files where it came from, its kind and its words."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {error.msg}"
    place = ""
    for frame in _frames(error.__traceback__):
        if frame.tb_frame.f_code.co_filename.startswith(folder):
            place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}: "
    try:
        words = str(error)
    except Exception:
        words = "an exception that cannot be shown"
    return f"{place}{type(error).__name__}{f': {words}' if words else ''}"


def trace_of(error: BaseException, path: str) -> str:
    """The traceback from the first line of the user's file on; "" when none is in it."""
    start = next((frame for frame in _frames(error.__traceback__) if frame.tb_frame.f_code.co_filename == path), None)
    if start is None:
        return ""
    try:
        return "".join(traceback.format_exception(type(error), error, start, limit=-20))
    except Exception:
        return ""


def _frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next
