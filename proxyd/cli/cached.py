"""The cache in lines of text, from the JSON objects of `proxyd.caching.report`."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxyd.caching.outlook import percent
from proxyd.caching.outlook import size_text as size
from proxyd.cli.output import ago, count, duration, paint, plural, table

EVICTIONS = (
    ("capacity", "for room"), ("replaced", "replaced"), ("purged", "purged"), ("reclaimed", "for the room of others"),
    ("failed", "broke off"), ("variants", "for newer variants"),
)
RESULTS = ("hit", "stale", "coalesced", "revalidated", "expired", "miss", "uncacheable", "bypass")
TIER_LOOKUPS = ("hit", "miss", "purged", "invalid", "error", "timeout", "skipped")
VERDICT_STYLES = {"fresh": "good", "stale": "warning", "filling": "good"}
BARS = "▁▂▃▄▅▆▇█"


# ---------------------------------------------------------------------- stats
def lines_of_stats(view: dict[str, Any]) -> list[str]:
    if not view["enabled"]:
        return ["no cache: no route of the running config has `cache`"]
    lines = [headline(view)]
    lines += table([row for row in stats_rows(view) if row[1]])
    if view["routes"]:
        lines += ["routes", *table([route_row(route) for route in view["routes"]])]
    if view["curve"]:
        lines += ["hit ratio by size, estimated", *curve_lines(view)]
    return lines + ([view["outlook"]] if view["outlook"] else [])


def headline(view: dict[str, Any]) -> str:
    if view["hit_ratio"] is None:
        return "cache: nothing has been asked of it yet"
    return f"cache: hit ratio {paint(percent(view['hit_ratio']), 'good')}, {size(view['bytes_served'])} sent from memory"


def stats_rows(view: dict[str, Any]) -> Iterator[list[str]]:
    """What, and how much; empty where there is nothing to tell."""
    store = view["store"]
    yield ["memory", f"{size(store['bytes'])} of {size(store['limit_bytes'])} in {plural(store['objects'], 'object')}, "
                     f"{size(store['held_bytes'])} taken"]
    yield ["results", results_text(view["requests"])]
    yield ["stored", f"{count(store['inserted'])}" + refused_text(store)]
    yield ["evicted", ", ".join(f"{count(store[f'evictions_{word}'])} {text}" for word, text in EVICTIONS if store[f"evictions_{word}"])]
    purges = [f"{store[f'purges_{kind}']} by {kind}" for kind in ("url", "prefix", "host", "tag", "all") if store[f"purges_{kind}"]]
    yield ["purges", f"{', '.join(purges)}: {plural(store['purged_objects'], 'object')}" if purges else ""]
    collapsed = [f"{count(store['collapsed'])} waited for another's fetch"] if store["collapsed"] else []
    collapsed += [f"{count(store['handed_over'])} fetches handed over"] if store["handed_over"] else []
    yield ["collapsed", ", ".join(collapsed)]
    for tier in view["tiers"]:
        yield [tier["name"], tier_text(tier)]
    yield ["compressed", compress_text(view["compress"]) if view["compress"] else ""]
    yield ["snapshot", snapshot_text(view["snapshot"]) if view["snapshot"] else ""]


def refused_text(store: dict[str, int]) -> str:
    parts = [f"{count(store[name])} {text}" for name, text in (("refused_too_large", "too large"), ("refused_no_room", "without room"))
             if store[name]]
    return f"; not stored: {', '.join(parts)}" if parts else ""


def results_text(requests: dict[str, int]) -> str:
    return ", ".join(f"{count(requests[word])} {word}" for word in RESULTS if requests.get(word))


def tier_text(tier: dict[str, Any]) -> str:
    counters = tier["counters"]
    lookups = ", ".join(f"{count(counters[f'lookup_{word}'])} {word}" for word in TIER_LOOKUPS if counters[f"lookup_{word}"])
    head = paint(f"given up for a while: {tier['last_error']}", "error") if tier["circuit_open"] else paint("well", "good")
    parts = [head, *([f"look-ups {lookups}"] if lookups else []), f"{count(counters['store_done'])} stored"]
    return "; ".join(parts + ([f"{count(counters['failures'])} failures"] if counters["failures"] else []))


def compress_text(compress: dict[str, Any]) -> str:
    made = ", ".join(
        f"{count(number)} {encoding} ({percent(compress['bytes_out'][encoding] / max(compress['bytes_in'][encoding], 1))} of the size)"
        for encoding, number in compress["made"].items()
    )
    others = ", ".join(f"{count(number)} {word.replace('_', ' ')}" for word, number in compress["results"].items()
                       if number and word != "finished")
    return "; ".join(part for part in (made, others) if part)


def snapshot_text(snapshot: dict[str, Any]) -> str:
    parts = [snapshot["file"]]
    parts += [f"{plural(snapshot['loaded'], 'object')} loaded at the start"] if snapshot["loaded"] else []
    if snapshot["saved_at"]:
        parts.append(f"{plural(snapshot['saved'], 'object')} saved {ago(snapshot['saved_at'])}")
    return ", ".join(parts) + (f"; {paint(snapshot['error'], 'warning')}" if snapshot["error"] else "")


def route_row(route: dict[str, Any]) -> list[str]:
    ratio = "-" if route["hit_ratio"] is None else percent(route["hit_ratio"])
    return [f"{route['listener']}/{route['route']}", ratio, size(route["bytes_served"]), results_text(route["requests"])]


def curve_lines(view: dict[str, Any]) -> list[str]:
    rows = [
        [size(point["size_bytes"]), f"{point['scale']:g}x", percent(point["hit_ratio"]), BARS[min(int(point["hit_ratio"] * 8), 7)]
         + (" now" if point["scale"] == 1 else "")]
        for point in view["curve"]
    ]
    return table(rows)


# ---------------------------------------------------------------------- one URL
def lines_of_why(view: dict[str, Any]) -> list[str]:
    lines = [f"{view['url']}: {paint(view['text'], VERDICT_STYLES.get(view['verdict'], 'error'))}"]
    lines += [f"  {view['section']}"] if view["section"] else []
    lines += [f"  = help: {view['help']}"] if view["help"] else []
    for route in view["routes"]:
        name = f"route {route['route']}, {route['action']}" if route["route"] is not None else route["action"]
        cached = f", zone {route['zone']}" if route["caches"] else ", no cache" if route["route"] is not None else ""
        lines.append(f"  {route['listener']} {route['address']}: {name}{cached}")
        lines += [f"      {word}: {text}" for word, text in route["facts"]]
    return lines + [f"  {line}" for entry in view["objects"] for line in lines_of_object(entry)]


def lines_of_object(entry: dict[str, Any]) -> list[str]:
    """`200 http://…/logo.png  12.3 KiB, age 50s, fresh for 4 min 10 s more`, and below what else is known of it."""
    if entry["state"] == "marker":
        return [f"{entry['status'] or '-'} {entry['url']}  {entry['verdict']}", f"    zone {entry['zone']}, key {entry['key']}"]
    made = f", {entry['encoding']} (made here)" if entry["encoding"] else ""
    age = f", age {duration(entry['age'])}" if entry["state"] == "complete" else ""
    lines = [f"{entry['status']} {entry['url']}  {size(entry['size'])}{made}{age}, {entry['verdict']}"]
    lines.append(f"    zone {entry['zone']}, key {entry['key']}, {size(entry['footprint'])} in the store, used {entry['hits']} of 3")
    lines += [f"    varies by {entry['vary']}: {entry['variant'] or '(none sent)'}"] if entry["vary"] else []
    stale = [(entry["stale_while_revalidate"], "while it is fetched again"), (entry["stale_if_error"], "if the server fails")]
    beyond = ", ".join(f"{duration(seconds)} {text}" for seconds, text in stale if seconds > 0)
    lines += [f"    served stale: {beyond}"] if beyond else []
    lines += [f"    tags {', '.join(entry['tags'])}"] if entry["tags"] else []
    return lines + ([f"    ETag {entry['etag']}"] if entry["etag"] else [])
