"""`python`, as the engines take it."""
from __future__ import annotations

from typing import TYPE_CHECKING

from proxyd_ext.filter.hooks import Hooks
from proxyd_ext.snapshot.spec import PythonFilter

if TYPE_CHECKING:
    from proxyd.config.python_filter import PythonFilter as PythonPolicy
    from proxyd.snapshot.handles import Handles


def build_python(handles: Handles, name: str, python: PythonPolicy) -> PythonFilter:
    """The Hooks belong to the policy's name and outlive its redefinition: the service exchanges the workers behind them, requests that are
    under way find the new ones, and no counter begins anew."""
    hooks = handles.get("hooks", name, (), lambda: Hooks(name))
    return PythonFilter(name, hooks, int(python.timeout), python.on_failure == "open")
