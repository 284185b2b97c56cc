from collections.abc import Mapping
from typing import Literal

def render_record(
    format: Literal["json", "combined", "pretty", "haproxy", "logfmt"],
    record: Mapping[str, int | bytes | None],
    color: bool = False,
    cap: int = ...,
) -> bytes: ...
