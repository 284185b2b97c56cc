"""What the config says about the shared tier, as plain values."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TierSettings:
    """Exactly one of `redis` and `memcached` is given. Raises ValueError otherwise."""

    redis: str = ""                    # redis://, rediss:// or unix:// URL; Redis 7 or Valkey
    memcached: str = ""                # HOST:PORT or unix:/PATH; several, comma separated, share the keys among them
    prefix: str = "proxyd:"            # of all keys; nodes that share answers and purges have the same one
    timeout_s: float = 0.05            # of one operation, waiting for a connection included
    circuit_failures: int = 5          # in a row open the circuit
    circuit_open_s: float = 5.0        # until it is tried again, by one operation that no client waits for
    max_object: int = 1 << 20          # bytes of a body; larger ones are not shared
    concurrency: int = 32              # operations under way, and so connections
    lookups: int = 1024                # lookups under way or waiting; those beyond are a miss at once
    queue: int = 256                   # answers waiting to be stored; those beyond are dropped
    poll_s: float = 1.0                # how often the purges of others are looked for where the tier does not tell (Memcached)

    def __post_init__(self) -> None:
        if bool(self.redis) == bool(self.memcached):
            raise ValueError("a shared tier is one of redis and memcached")
