"""The metric families of the cache: what routes met there, what the store holds and lets go, and the parts around it."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from proxyd.caching.outlook import points
from proxyd.caching.report import compress_results
from proxyd.metrics.families import Family, counter, gauge
from proxyd.metrics.ratchet import Ratchet

if TYPE_CHECKING:
    from proxyd.state import CacheEntry

EVICTIONS = ("capacity", "replaced", "purged", "reclaimed", "failed", "variants")
REFUSALS = ("too_large", "no_room")
PURGES = ("url", "prefix", "host", "tag", "all")


def route_families(totals: Mapping[tuple[str, str], Mapping[str, Any]]) -> Iterable[Family]:
    """`totals`: of routes, by (listener, route)."""
    labels = ("listener", "route")
    requests = counter("cache_requests_total", "Requests of routes that have a cache, by what it did.", (*labels, "result"))
    served = counter("cache_served_bytes_total", "Bytes of bodies that were sent from the cache.", labels)
    for names, total in totals.items():
        for result, count in total["cache"].items():
            requests.add((*names, result), count)
        if total["cache"]:
            served.add(names, total["cache_bytes"])
    return requests, served


def store_families(entry: CacheEntry | None, numbers: Ratchet) -> Iterable[Family]:
    """Without a cache they stand there empty. `numbers` keeps the counters growing when the store is another."""
    objects = gauge("cache_objects", "Stored answers, compressed forms of them, and values.")
    markers = gauge("cache_markers", "Notes of answers that cannot be stored, so that requests for them do not wait for one another.")
    live = gauge("cache_bytes", "Bytes of what is stored.")
    held = gauge("cache_held_bytes", "Bytes of memory that the store has taken for it.")
    limit = gauge("cache_limit_bytes", "Bytes that the store may take (cache.memory.size).")
    inserted = counter("cache_inserted_total", "Answers that were stored.")
    refused = counter("cache_refused_total", "Answers that could have been stored but for their size or for room, by reason.", ("reason",))
    evicted = counter("cache_evictions_total", "Stored answers that went, by reason.", ("reason",))
    purges = counter("cache_purges_total", "Purges, by kind.", ("kind",))
    purged = counter("cache_purged_objects_total", "Stored answers that purges removed or marked as stale.")
    collapsed = counter("cache_collapsed_total", "Requests that waited for the fetch of another.")
    handed = counter("cache_handed_over_total", "Fetches that another request took over when the first could not go on.")
    late = counter("cache_late_fills_total", "Answers that were not stored because a purge came while they were fetched.")
    ratio = gauge("cache_estimated_hit_ratio", "Hit ratio that a store of this multiple of the limit would have, by sampling.", ("scale",))
    found = (objects, markers, live, held, limit, inserted, refused, evicted, purges, purged, collapsed, handed, late, ratio)
    if entry is None:
        return found
    stats = entry.store.stats()

    def total(name: str) -> float:
        return numbers.total(("cache", name), stats[name])

    for family, name in ((objects, "objects"), (markers, "markers"), (live, "bytes"), (held, "held_bytes"), (limit, "limit_bytes")):
        family.add((), stats[name])
    plain = ((inserted, "inserted"), (purged, "purged_objects"), (collapsed, "collapsed"), (handed, "handed_over"), (late, "late_fills"))
    for counted, name in plain:
        counted.add((), total(name))
    for counted, prefix, words in ((evicted, "evictions", EVICTIONS), (refused, "refused", REFUSALS), (purges, "purges", PURGES)):
        for word in words:
            counted.add((word,), total(f"{prefix}_{word}"))
    for point in points(entry.store.curve(), stats["limit_bytes"]):
        ratio.add((f"{point.scale:g}",), point.hit_ratio)
    return found


def tier_families(entry: CacheEntry | None, numbers: Ratchet) -> Iterable[Family]:
    lookups = counter("cache_tier_lookups_total", "Look-ups in the shared tier, by result.", ("tier", "result"))
    stores = counter("cache_tier_stores_total", "Answers that were to be stored in the shared tier, by result.", ("tier", "result"))
    purges = counter("cache_tier_purges_total", "Purges that went to other nodes, or came from them.", ("tier", "direction"))
    lost = counter("cache_tier_history_lost_total", "Times that memory was emptied, since purges of others may have been lost.", ("tier",))
    operations = counter("cache_tier_operations_total", "Operations of the shared tier.", ("tier",))
    failures = counter("cache_tier_failures_total", "Operations that failed, timed out, or were answered wrongly.", ("tier",))
    opened = counter("cache_tier_circuit_opened_total", "Times that the shared tier was given up for a while.", ("tier",))
    circuit = gauge("cache_tier_circuit_open", "Whether the shared tier is given up for a while now.", ("tier",))
    moved = counter("cache_tier_bytes_total", "Bytes of answers read from the shared tier, and written to it.", ("tier", "direction"))
    found = (lookups, stores, purges, lost, operations, failures, opened, circuit, moved)
    if entry is None or entry.tier is None:
        return found
    tier = entry.tier.name
    counts = {name: numbers.total(("tier", tier, name), count) for name, count in asdict(entry.tier.counters).items()}
    for family, prefix in ((lookups, "lookup_"), (stores, "store_")):
        for name, count in counts.items():
            if name.startswith(prefix):
                family.add((tier, name.removeprefix(prefix)), count)
    for direction in ("sent", "received"):
        purges.add((tier, direction), counts[f"purges_{direction}"])
    for direction in ("read", "written"):
        moved.add((tier, direction), counts[f"bytes_{direction}"])
    plain = ((lost, "history_lost"), (operations, "operations"), (failures, "failures"), (opened, "circuit_opened"))
    for counted, name in plain:
        counted.add((tier,), counts[name])
    circuit.add((tier,), float(entry.tier.circuit_open))
    return found


def compress_families(entry: CacheEntry | None, numbers: Ratchet) -> Iterable[Family]:
    results = counter("cache_compressions_total", "Stored answers that were to be compressed, by what became of them.", ("result",))
    forms = counter("cache_compressed_forms_total", "Compressed forms that were stored.", ("encoding",))
    sizes = counter("cache_compress_bytes_total", "Bytes of bodies before compression, and of the forms after it.", ("encoding", "side"))
    if entry is None or entry.compress is None:
        return results, forms, sizes
    for result, count in compress_results(entry.compress).items():
        results.add((result,), numbers.total(("compress", result), count))
    for encoding, count in entry.compress.made.items():
        forms.add((encoding,), numbers.total(("made", encoding), count))
        for side, counts in (("before", entry.compress.bytes_in), ("after", entry.compress.bytes_out)):
            sizes.add((encoding, side), numbers.total(("compress bytes", encoding, side), counts[encoding]))
    return results, forms, sizes
