from collections.abc import Mapping

from proxyd_ext.log.rules import Rules

def framed(rules: Rules, record: Mapping[str, int | bytes | None]) -> bytes: ...
