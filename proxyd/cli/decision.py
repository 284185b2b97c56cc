"""A decision about a request or a flow in lines of text: the route, why not those before it, policies, what the balancers would weigh.

It comes as the JSON object of a `proxyd.state.RouteDecision`, from the daemon or from a file.
"""
from __future__ import annotations

from typing import Any

from proxyd.cli.output import ago, paint, plural, table

WHY_NOT_SHOWN = 12
STATE_STYLES = {"up": "good", "unknown": "dim"}


def lines_of(parts: tuple[str, str, str], source: str, decisions: list[dict[str, Any]], *, every: bool = False) -> list[str]:
    method, host, path = parts
    return [f"{method} {host}{path}  {paint(f'(by {source})', 'dim')}", *_decision_lines(path, decisions, every=every)]


def flow_lines_of(url: str, source: str, decisions: list[dict[str, Any]], *, every: bool = False) -> list[str]:
    return [f"{url}  {paint(f'(by {source})', 'dim')}", *_decision_lines("", decisions, every=every)]


def _decision_lines(path: str, decisions: list[dict[str, Any]], *, every: bool) -> list[str]:
    lines: list[str] = []
    for decision, addresses in by_listener(decisions):
        where = f"{decision['listener']} {', '.join(addresses)}"
        if decision["route"] is None:
            lines.append(f"  {where}: {paint(decision['action'], 'error')}")
        else:
            lines.append(f"  {where}: route {paint(decision['route'], 'good')}, {decision['action']}")
        if decision["path"] != path and decision["route"] is not None:
            lines.append(f"      path as routed: {decision['path']}")
        lines += [f"      {line}" for line in why_not_lines(decision["why_not"], every=every)]
        refused = False
        for policy in decision["policies"]:
            refused |= policy["refuses"]
            what = "policy " if decision["mode"] == "http" else ""
            lines.append(f"      {what}{policy['name']}: {paint(policy['text'], 'error') if policy['refuses'] else policy['text']}")
        if not refused:
            lines += [f"      {word}: {text}" for word, text in decision["facts"]]
            lines += [line for target in decision["targets"] for line in target_lines(target)]
    return lines


def by_listener(decisions: list[dict[str, Any]]) -> list[tuple[dict[str, Any], list[str]]]:
    """What the addresses of one listener decide is told once, with all of them."""
    found: list[tuple[dict[str, Any], list[str]]] = []
    for decision in decisions:
        address = decision["address"]
        if found and found[-1][0] | {"address": address} == decision:
            found[-1][1].append(address)
        else:
            found.append((decision, [address]))
    return found


def why_not_lines(why_not: list[tuple[str, list[str]]], *, every: bool) -> list[str]:
    """The routes before the one that matches. Of many, the nearest misses: those of which only the path or the like differs."""
    fewest = {name for name, _ in sorted(why_not, key=lambda entry: len(entry[1]))[:WHY_NOT_SHOWN]}
    lines = [
        f"not {name}: {' and '.join(differing)} {'differs' if len(differing) == 1 else 'differ'}"
        for name, differing in why_not
        if every or name in fewest
    ]
    left = len(why_not) - len(lines)
    return [*lines, f"nor {plural(left, 'other route')} (-v tells of all)"] if left else lines


def target_lines(target: dict[str, Any]) -> list[str]:
    """`95% app: 3 servers, chosen by p2c`, a line for each server, and how the upstream treats requests."""
    servers, balancer = target["servers"], target["balancer"]
    share = "failover " if target["role"] == "failover" else percent(target["share"])
    head = f"      {share}{target['upstream']}: {plural(len(servers), 'server')}, chosen by {target['balance']}"
    rows = [
        [server["label"], traits(server), paint(server["state"], STATE_STYLES.get(server["state"], "error")), load(server), why(server)]
        for server in servers
    ]
    if all(server["state"] == "unknown" for server in servers):      # from a file: nobody knows
        rows = [row[:2] for row in rows]
    filled = [column for column in range(len(rows[0]) if rows else 0) if any(row[column] for row in rows)]
    rows = [[row[column] for column in filled] for row in rows]
    present = "".join(f"; {text}" for text in (balancer_words(balancer) if balancer is not None else []))
    facts = [f"          {word}: {text}" for word, text in target["facts"]]
    return [head + paint(present, "warning"), *table(rows, indent=" " * 10), *facts]


def balancer_words(balancer: dict[str, Any]) -> list[str]:
    """What is not as usual about it."""
    found = ["panic: health is ignored"] if balancer["panic"] else ["nothing is usable: health is ignored"] if balancer["fail_open"] else []
    if balancer["tier"] > 0:
        found.append(f"tier {balancer['tier']} serves")
    return found + ([f"the circuit is {balancer['circuit'].replace('_', ' ')}"] if balancer["circuit"] != "closed" else [])


def duration(seconds: float) -> str:
    """`12.3 ms`, `1.20 s`."""
    return f"{seconds:.2f} s" if seconds >= 0.9995 else f"{seconds * 1000:.3g} ms"


def load(server: dict[str, Any]) -> str:
    """`3 in flight of 10, 12 ms, counts 1.3`: what a balancer weighs."""
    bound = f" of {server['max_requests']}" if server["max_requests"] else ""
    words = [f"{server['in_flight']} in flight{bound}"] if server["in_flight"] or bound else []
    if server["latency_seconds"]:
        words.append(duration(server["latency_seconds"]))
    counted = server["effective_weight"]
    if counted == 0:
        words += ["not drawn from"] if server["state"] == "up" else []
    elif counted is not None and abs(counted - server["weight"]) > 0.005:
        words.append(f"counts {counted:.3g}")
    return ", ".join(words)


def percent(share: float) -> str:
    """`95% `; nothing for the whole."""
    return "" if share == 1 else f"{share * 100:.3g}% "


def traits(server: dict[str, Any]) -> str:
    words = [] if server["source"] == server["label"] else [f"of {server['source']}"]
    words += [f"weight {server['weight']}"] if server["weight"] != 1 else []
    if server["backup"] or server["tier"]:
        words.append("backup" if server["tier"] <= 1 else f"tier {server['tier']}")
    words += [f"zone {server['zone']}{'' if server['local'] else ' (another)'}"] if server["zone"] else []
    return ", ".join(words)


def why(server: dict[str, Any]) -> str:
    long = f"for {ago(server['since']).removesuffix(' ago')}" if server["since"] and server["state"] != "up" else ""
    return ", ".join(words for words in (server["reason"], long) if words)
