"""The files that a config is made of, kept as they were read, so that the same config can be loaded again when they have changed.

Kept are the config's own files (the main one and those that it includes) and the pages that it names. Not kept, and read anew from where
they are: what holds credentials or keys (`${env:}`, `${file:}`, `keys.yaml`, htpasswd files, JWKS files), since an old config must not
bring back a password that was changed or a key that was revoked; and what has a life of its own (code of filters, which is taken up as
it changes, and the database of countries).
"""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TEXT = "<text>"  # stands for the main file of a config that came as text


@dataclass(frozen=True, slots=True)
class Bundle:
    """`files`: absolute path → content, the main file (or TEXT) among them; `globs`: absolute pattern → what it matched, in any order."""

    main: str
    folder: str
    files: Mapping[str, bytes] = field(repr=False)
    globs: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON. Bytes that are not UTF-8 (of pages) become lone surrogates, which JSON escapes and gives back."""
        files = {path: content.decode("utf-8", "surrogateescape") for path, content in self.files.items()}
        return {"main": self.main, "folder": self.folder, "files": files, "globs": {key: list(found) for key, found in self.globs.items()}}

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Bundle:
        """What `as_dict` made. KeyError, TypeError, AttributeError: it did not."""
        files = {str(path): text.encode("utf-8", "surrogateescape") for path, text in value["files"].items()}
        if value["main"] not in files:
            raise KeyError(value["main"])
        return cls(value["main"], value["folder"], files, {key: tuple(found) for key, found in value["globs"].items()})


class Files:
    """Reads from the disk, and keeps what it has read."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.globs: dict[str, tuple[str, ...]] = {}

    def read(self, path: Path, limit: int) -> bytes:
        """At most one byte more than `limit`, by which a caller sees that there is more. OSError; ValueError: a NUL in the path."""
        with path.open("rb") as file:
            content = file.read(limit + 1)
        self.contents[os.path.abspath(path)] = content
        return content

    def glob(self, pattern: str) -> list[str]:
        found = glob.glob(pattern, recursive=True)
        self.globs[os.path.abspath(pattern)] = tuple(map(os.path.abspath, found))
        return found

    def is_dir(self, path: Path) -> bool:
        return path.is_dir()

    def bundle(self, main: str, folder: str) -> Bundle:
        return Bundle(main, os.path.abspath(folder), dict(self.contents), dict(self.globs))


class KeptFiles(Files):
    """Reads what a bundle holds; of the disk it knows nothing."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.contents, self.globs = dict(bundle.files), dict(bundle.globs)

    def read(self, path: Path, limit: int) -> bytes:
        content = self.contents.get(os.path.abspath(path))
        if content is None:
            raise FileNotFoundError(errno.ENOENT, "it was not kept", str(path))
        return content

    def glob(self, pattern: str) -> list[str]:
        return list(self.globs.get(os.path.abspath(pattern), ()))

    def is_dir(self, path: Path) -> bool:
        return os.path.abspath(path) not in self.contents
