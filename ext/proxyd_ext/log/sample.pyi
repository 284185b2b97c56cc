from collections.abc import Mapping

from proxyd_ext.log.rules import Rules

def keeps(rules: Rules, record: Mapping[str, int | bytes | None]) -> bool: ...
