from collections.abc import Iterable
from typing import Literal

from proxyd_ext.balance.pool import Pool
from proxyd_ext.snapshot.spec import SnapshotSpec

Miss = Literal["method", "host", "path", "header", "query", "cookie", "source"]

class Snapshot:
    config_hash: str
    pools: list[Pool]
    def __init__(self, spec: SnapshotSpec) -> None: ...
    @property
    def generation(self) -> int: ...
    def match(
        self, listener: int, method: str, host: str, path: str, *,
        headers: Iterable[tuple[str, str]] = (), query: str = "", client: str = "",
    ) -> tuple[int, str]: ...
    def verdict(self, listener: int, route: int, client: str) -> str | None: ...
    def why_not(
        self, listener: int, route: int, method: str, host: str, path: str, *,
        headers: Iterable[tuple[str, str]] = (), query: str = "", client: str = "",
    ) -> list[Miss]: ...
