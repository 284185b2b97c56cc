from collections.abc import Sequence
from typing import TypedDict

class ListenerStats(TypedDict):
    accepted: int
    open: int
    rejected: dict[str, int]      # by reason
    in_flight: int
    bytes_in: int                 # of flows: from clients
    bytes_out: int
    packets_in: int               # of UDP
    packets_out: int
    ended: dict[str, int]         # flows by the word of why they ended

class Listener:
    name: str
    address: str
    def __init__(self, name: str, address: str, fds: Sequence[int], shared: bool) -> None: ...
    def stats(self) -> ListenerStats: ...
