"""Limits in lines of text, from the JSON objects of `proxyd.limits.views`."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxyd.caching.outlook import size_text as size
from proxyd.cli.output import count, duration, paint, plural, table

TOP_SHOWN = 5
WORDS = {
    "passed": "passed", "delayed": "held", "refused": "refused", "delayed_dry_run": "would be held", "refused_dry_run": "would be refused",
    "table_full": "without room", "bans": "banned so far", "admitted": "admitted", "queued": "after a wait", "full": "found no place",
    "timeout": "waited too long", "shed": "shed",
}
KEYS = {"rate": "key", "plan": "key", "concurrency": "key", "ban": "address"}


def lines_of_limits(view: dict[str, Any], *, top: bool) -> list[str]:
    """`top`: more of the busiest keys."""
    if not view["limits"] and view["places"] is None:
        return ["no limits: no route of the running config uses one"]
    lines = table([limit_row(limit) for limit in view["limits"]], indent="")
    for limit in view["limits"]:
        lines += [f"{limit['policy']} {line}" for line in shared_lines(limit)]
    lines += place_lines(view["places"]) if view["places"] is not None else []
    if view["shed_below"] != "none":
        lines.append(paint(f"overload: requests below class {view['shed_below']} are shed", "error"))
    lines += store_lines(view["store"]) if view["store"] is not None else []
    busy = [limit for limit in view["limits"] if limit["top"]]
    for limit in busy:
        lines += [f"busiest of {limit['policy']}", *top_rows(limit, len(limit["top"]) if top else TOP_SHOWN)]
    return lines


def limit_row(limit: dict[str, Any]) -> list[str]:
    """`per-ip  20/s, burst 40, by client.ip  1234 keys  9.5 MiB  12.3k passed, 40 refused`."""
    kind = "ban" if limit["kind"] == "ban" else "plan" if limit["kind"] == "plan" else ""
    noun = KEYS[limit["kind"]]
    keys = f"{count(limit['keys'])} {noun if limit['keys'] == 1 else f'{noun}es' if noun.endswith('s') else f'{noun}s'}"
    return [limit["policy"], limit["rule"] or kind, keys, size(limit["memory_bytes"]), decisions_text(limit)]


def decisions_text(limit: dict[str, Any]) -> str:
    parts = results(limit["decisions"])
    parts += [paint(f"{count(limit['evictions'])} forgotten for room", "warning")] if limit["evictions"] else []
    return ", ".join(parts) or "nothing yet"


def results(counts: dict[str, int]) -> list[str]:
    return [f"{count(number)} {WORDS.get(word, word)}" for word, number in counts.items() if number]


def shared_lines(limit: dict[str, Any]) -> Iterator[str]:
    shared = limit["shared"]
    if shared is not None:
        yield (
            f"takes {plural(shared['lease'], 'token')} at a time: at worst {plural(shared['beyond_burst'], 'request')} of a key pass "
            f"beyond its burst; alone it admits {shared['local_requests']} in {duration(shared['local_per_seconds'])}, "
            f"burst {shared['local_burst']}"
        )


def lines_of_limit(limit: dict[str, Any]) -> list[str]:
    lines = [f"{limit['policy']}: {limit['rule'] or limit['kind']}"]
    rows = [
        ["counts by", ", ".join(limit["key"])],
        ["keys", f"{count(limit['keys'])} of {count(limit['capacity'])}, {size(limit['memory_bytes'])}"],
        ["decided", decisions_text(limit)],
    ]
    rows += [["shared", line] for line in shared_lines(limit)]
    lines += table(rows)
    return lines + (["busiest keys, estimated", *top_rows(limit, len(limit["top"]))] if limit["top"] else [])


def top_rows(limit: dict[str, Any], most: int) -> list[str]:
    return table([
        [entry["key"], f"{count(entry['requests'])} requests", f"{count(entry['refused'])} refused" if entry["refused"] else ""]
        for entry in limit["top"][:most]
    ])


def place_lines(places: dict[str, Any]) -> list[str]:
    total = f"{places['in_use']} of {places['total']} in use" if places["total"] else f"{places['in_use']} in use"
    head = f"places: {total}, {places['reserved']} reserved, {places['waiting']} waiting"
    if places["waiting"]:
        head += f", the first for {duration(places['oldest_wait_seconds'])}"
    head += f"; {paint('the queue stands: who waits long is shed', 'error')}" if places["shedding"] else ""
    return [head, *table([lane_row(lane) for lane in places["lanes"]])]


def lane_row(lane: dict[str, Any]) -> list[str]:
    bounds = [f"{lane['reserved']} reserved"] if lane["reserved"] else []
    bounds += [f"at most {lane['max']}"] if lane["max"] else []
    waiting = f"{lane['waiting']} waiting" if lane["waiting"] else ""
    return [lane["route"], f"{lane['in_use']} in use", ", ".join(bounds), waiting, ", ".join(results(lane["results"]))]


def store_lines(store: dict[str, Any]) -> list[str]:
    counters = store["counters"]
    state = paint(f"away ({store['last_error']}); each admits its share", "error") if store["away"] else paint("well", "good")
    nodes = "1 proxy" if store["nodes"] == 1 else f"{store['nodes']} proxies"
    parts = [f"shared store: {state}", nodes, f"{count(counters['exchanges'])} exchanges"]
    parts += [f"{count(counters['failures'])} failed"] if counters["failures"] else []
    parts += [f"{count(store['waiting'])} keys wait"] if store["waiting"] else []
    return [", ".join(parts)]


def line_of_key(view: dict[str, Any]) -> str:
    return f"{view['policy']} {' '.join(view['key'])}: {view['text']}"
