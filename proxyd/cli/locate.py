"""Which admin address a config file names, for a command that only wants to talk to the daemon.

A broken file must not hide the daemon: `proxyd reload` is how its errors are told. And the model costs a quarter of a second to import. So
the file is read as plain YAML; the model is asked only where the address hangs on other files or on variables, and where not even the YAML
can be read, the text after `admin:` is searched for something that looks like an address.
"""
from __future__ import annotations

import re
from pathlib import Path

import yaml

_ADDRESS = re.compile(r"unix:/[^\s\"',\]}]+|(?:127(?:\.\d+){3}|\[::1\]):\d+")
_ADMIN = re.compile(r"^admin:.*?(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


def maybe_admin_address(path: Path) -> str:
    """The first admin address that the file names; "" when that is the default socket, or nothing can be told."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ""
    if "admin" not in text and "include" not in text:
        return ""
    binds = _maybe_of_model(path) if "include" in text or "${" in text else None
    if binds is None:
        binds = _of_text(text)
    return "" if "auto" in binds else _from_here(next(iter(binds), ""))


def _from_here(bind: str) -> str:
    """Where an address that is listened on is reached from this machine: one that stands for all of them is reached by the loopback."""
    host, _, port = bind.rpartition(":")
    return {"0.0.0.0": f"127.0.0.1:{port}", "[::]": f"[::1]:{port}"}.get(host, bind)


def _maybe_of_model(path: Path) -> list[str] | None:
    """As the daemon understands it; None when the config has errors."""
    from proxyd.config import load

    config = load(path).config
    return None if config is None else [str(bind) for bind in config.admin.bind]


def _of_text(text: str) -> list[str]:
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        found = _ADMIN.search(text)
        return _ADDRESS.findall(found[0]) if found else []
    admin = value.get("admin") if isinstance(value, dict) else None
    bind = admin.get("bind") if isinstance(admin, dict) else None
    return [str(entry) for entry in (bind if isinstance(bind, list) else [bind] if bind else [])]
