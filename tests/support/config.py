"""Configs for tests, from the YAML that a user would write."""
from __future__ import annotations

import textwrap
from pathlib import Path

from proxyd.config import Config, load_text
from proxyd.config.upstreams import Upstream
from proxyd.diagnostics import render_all


def config_of(text: str) -> Config:
    """The config that `text` (indented as it likes) stands for; fails with the diagnostics when it is not one."""
    result = load_text(textwrap.dedent(text))
    assert result.config is not None, render_all(result.diagnostics)
    return result.config


def config_in(folder: Path, text: str) -> Config:
    """The same with files that it names, in `folder`."""
    result = load_text(text, folder=str(folder), env={})
    assert result.config is not None, render_all(result.diagnostics)
    return result.config


def first_finding(text: str) -> tuple[str, int, int]:
    """Code, line and column (from 1) of the only finding in `text`; the codes of all when there is not exactly one."""
    found = load_text(text, env={}).diagnostics
    assert len(found) == 1, render_all(found) or "nothing was found"
    assert found[0].span is not None
    return found[0].code, found[0].span.line + 1, found[0].span.column + 1


def upstream_of(text: str, servers: str = "['127.0.0.1:9']") -> Upstream:
    """An upstream with these options beside its servers."""
    return config_of(f"{{listen: ':1', to: app, upstreams: {{app: {{servers: {servers}, {text}}}}}}}").upstreams["app"]
