"""What is doubtful about checks."""

from __future__ import annotations

from collections.abc import Iterator

from proxyd.config.auth_keys import WrittenSecret
from proxyd.config.doubt import Doubt
from proxyd.config.health import Health
from proxyd.diagnostics.marked import Step


def health_doubts(health: Health, here: tuple[Step, ...]) -> Iterator[Doubt]:
    for index, check in enumerate(health.active):
        for kind, login in (("redis", check.redis), ("postgres", check.postgres)):
            if login is not None and isinstance(login.password, WrittenSecret):
                place = (*here, "active", index, kind, "password")
                yield Doubt("PXD-113", "the password of a check stands in the file", place, "write `${env:NAME}` or `${file:PATH}`")
