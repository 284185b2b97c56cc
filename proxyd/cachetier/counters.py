"""What the tier did, as plain numbers that only grow; the metrics read them. They outlive a reload and a change of the server."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class TierCounters:
    # Each lookup ends in exactly one of these.
    lookup_hit: int = 0
    lookup_miss: int = 0
    lookup_purged: int = 0         # found, but stored before a purge that matches
    lookup_invalid: int = 0        # found, but it was not what was asked for, or damaged
    lookup_error: int = 0          # the server could not be reached, or refused
    lookup_timeout: int = 0
    lookup_skipped: int = 0        # not asked: the circuit was open, or too many waited
    # Each answer that was offered ends in exactly one of these.
    store_done: int = 0
    store_dropped: int = 0         # the queue was full
    store_skipped: int = 0         # the circuit was open
    store_unfit: int = 0           # too large, too short-lived, or purged meanwhile
    store_refused: int = 0         # by the server: too large for it
    store_error: int = 0
    store_timeout: int = 0
    # Purges.
    purges_sent: int = 0
    purges_late: int = 0           # of those: could not be sent at once
    purges_received: int = 0       # from other nodes
    history_lost: int = 0          # times that memory was emptied, since purges of others may have been missed
    # The server.
    operations: int = 0
    failures: int = 0              # errors, timeouts and wrong answers: what the circuit counts
    circuit_opened: int = 0
    bytes_read: int = 0            # of envelopes
    bytes_written: int = 0
