from collections.abc import Mapping

from proxyd_ext.log.rules import Rules

def redacted(rules: Rules, record: Mapping[str, int | bytes | None]) -> dict[str, int | bytes | None]: ...
