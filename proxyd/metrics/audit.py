"""The audit trail's family."""
from __future__ import annotations

from collections.abc import Iterator

from proxyd.metrics.families import Family, counter


def audit_families(failed: int) -> Iterator[Family]:
    family = counter("audit_failed_total", "Audit records that could not be written when they were due; the changes were made.")
    family.add((), failed)
    yield family
