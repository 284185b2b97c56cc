"""Configs for tests, from the YAML that a user would write."""
from __future__ import annotations

import textwrap

from proxyd.config import Config, load_text
from proxyd.diagnostics import render_all


def config_of(text: str) -> Config:
    """The config that `text` (indented as it likes) stands for; fails with the diagnostics when it is not one."""
    result = load_text(textwrap.dedent(text))
    assert result.config is not None, render_all(result.diagnostics)
    return result.config
