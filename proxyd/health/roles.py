"""Databases of which one is the primary and the others follow it."""
from __future__ import annotations

from proxyd.health.check import CheckFailed, Role


def judge_role(found: str, wanted: Role) -> None:
    """`found`: primary or replica."""
    if wanted not in ("any", found):
        raise CheckFailed(f"it is a {found}, a {wanted} is wanted")
