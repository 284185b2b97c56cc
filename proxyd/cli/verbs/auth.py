"""`proxyd auth`: who is known by which policy, what was used of quotas, and forgetting."""
from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from proxyd.cli.output import ago, count, duration, paint, plural, print_json, table
from proxyd.cli.settings import Settings, common, pass_settings


@click.group("auth", short_help="who is known, and usage of quotas: list, usage, revoke")
@common
def command() -> None:
    """Policies of the kind `auth`: what they remember, usage of quotas, and forgetting."""


@command.command("list", short_help="what each policy remembers and decided")
@common
@pass_settings
def list_(settings: Settings) -> None:
    """Every auth policy with what it remembers and decided, and where its keys come from."""
    found = settings.client().get("/auth")
    if settings.json:
        print_json(found)
    elif not found["policies"]:
        print("no auth policies: no route of the running config uses one")
    else:
        print("\n".join([*table([_row(policy) for policy in found["policies"]], indent=""), *_keys(found["policies"])]))


def _row(policy: dict[str, Any]) -> list[str]:
    """`sso  jwt  12 remembered  340 allowed, 3 denied`."""
    parts = [f"{count(policy[word])} {said}" for word, said in (
        ("allowed", "allowed"), ("denied", "denied"), ("missing", "without a credential"), ("asked", "asked"),
    ) if policy[word]]
    parts += [paint(f"{count(policy['failed'])} without a verdict", "error")] if policy["failed"] else []
    return [policy["policy"], policy["kind"], f"{count(policy['entries'])} remembered", ", ".join(parts) or "nothing yet"]


def _keys(policies: list[dict[str, Any]]) -> Iterator[str]:
    for policy in policies:
        for source in policy["keys"]:
            known = plural(source["keys"], "key")
            age = "" if source["age_s"] is None else f", confirmed {duration(source['age_s'])} ago"
            error = paint(f": {source['last_error']}", "error") if source["last_error"] else ""
            yield f"{policy['policy']}: {known} of {source['place']}{age}{error}"


@command.command("usage", short_help="who has used what of a quota")
@common
@pass_settings
def usage(settings: Settings) -> None:
    """Who has used what of a quota in the day, week or month that runs (UTC)."""
    found = settings.client().get("/auth/usage")
    if settings.json:
        print_json(found)
        return
    rows = [[one["name"], f"{one['used']} this {one['period']}"] for one in found["consumers"]]
    print("\n".join(table(rows, indent="")) if rows else "nothing of a quota has been used")
    file = found["file"]
    if file is None:
        print(paint("it does not outlive a restart: `usage: FILE` keeps it", "dim"))
    else:
        saved = f"written {ago(file['saved_at'], time.time())}" if file["saved_at"] else "not written yet"
        print(f"{file['file']}: {saved}" + (paint(f", {file['error']}", "error") if file["error"] else ""))


@command.command("revoke", short_help="forget a user, or everybody")
@common
@click.argument("policy", metavar="POLICY")
@click.argument("user", required=False, metavar="[USER]", default="")
@pass_settings
def revoke(settings: Settings, policy: str, user: str) -> None:
    """Forget who is known by POLICY: a USER, or everybody. Their next request asks again.

    It ends no token: one that its issuer still vouches for is let in again. It is for what was withdrawn at the source.
    """
    done = settings.client().post("/auth/revoke", {"policy": policy} | ({"user": user} if user else {}))
    if settings.json:
        print_json(done)
    elif not settings.quiet:
        print(f"{policy}: {plural(done['forgotten'], 'credential')} forgotten")
