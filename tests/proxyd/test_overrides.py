from __future__ import annotations

from typing import Any

import pytest

from proxyd.config import Config
from proxyd.overrides import OverrideError, Overrides, State, parse_server, parse_state, parse_weight, spelling
from proxyd.snapshot.members import Member
from tests.support.config import config_of

ADDRESSES: dict[str, tuple[str, ...]] = {"app.internal": ("10.1.0.1", "10.1.0.2")}


def config(*servers: str) -> Config:
    return config_of(f"listen: :8080\nto: app\nupstreams: {{app: {{servers: {list(servers)}}}}}")


def labels(overrides: Overrides, found: Config, addresses: dict[str, tuple[str, ...]] | None = None) -> dict[str, int]:
    return {member.label: member.weight for member in overrides.members(found, addresses or {})["app"]}


class Marked:
    """Keeps the order in which reasons come and go."""

    def __init__(self) -> None:
        self.down: dict[str, bool] = {}
        self.told: list[tuple[str, bool]] = []

    def set_down(self, reason: str, on: bool) -> None:
        self.down[reason] = on
        self.told.append((reason, on))


def marked(overrides: Overrides, member: Member) -> Marked:
    found = Marked()
    overrides.mark("app", member, found)
    return found


def member_of(overrides: Overrides, found: Config, label: str) -> Member:
    return next(member for member in overrides.members(found, ADDRESSES)["app"] if member.label == label)


def test_nothing_changes_nothing() -> None:
    found = config("10.0.0.1:80", "10.0.0.2:80")
    assert labels(Overrides(), found) == {"10.0.0.1:80": 1, "10.0.0.2:80": 1}
    assert Overrides().views() == ()


def test_servers_are_added_and_removed_and_weighted() -> None:
    found, overrides = config("10.0.0.1:80", "10.0.0.2:80"), Overrides()
    overrides.add("app", parse_server({"address": "10.0.0.3:80", "weight": 2, "backup": True}), "ops", 1.0)
    overrides.remove("app", "10.0.0.1:80", "10.0.0.1:80", "ops", 2.0)
    assert overrides.set_weight("app", "10.0.0.2:80", "10.0.0.2:80", 5, 1, "ops", 3.0)
    assert labels(overrides, found) == {"10.0.0.2:80": 5, "10.0.0.3:80": 2}
    assert [member.backup for member in overrides.members(found, {})["app"]] == [False, True]
    assert [(view.server, view.change, view.text, view.by, view.at) for view in overrides.views("app")] == [
        ("10.0.0.3:80", "added", "added, backup, weight 2", "ops", 1.0),
        ("10.0.0.1:80", "removed", "removed", "ops", 2.0),
        ("10.0.0.2:80", "weight", "weight 5", "ops", 3.0),
    ]
    assert overrides.views("other") == ()


def test_what_is_taken_back_leaves_no_trace() -> None:
    overrides = Overrides()
    overrides.remove("app", "10.0.0.1:80", "10.0.0.1:80", "ops", 1.0)
    overrides.add("app", parse_server({"address": "10.0.0.1:80"}), "ops", 2.0)
    overrides.add("app", parse_server({"address": "10.0.0.3:80"}), "ops", 3.0)
    overrides.set_state("app", "10.0.0.3:80", "10.0.0.3:80", "drain", "ops", 3.0)
    overrides.remove("app", "10.0.0.3:80", "10.0.0.3:80", "ops", 4.0)
    overrides.set_weight("app", "10.0.0.1:80", "10.0.0.1:80", 5, 1, "ops", 5.0)
    assert overrides.set_weight("app", "10.0.0.1:80", "10.0.0.1:80", 1, 1, "ops", 6.0)
    assert overrides.views() == ()


def test_what_is_so_already_is_no_change() -> None:
    overrides = Overrides()
    first = ("app", "10.0.0.1:80", "10.0.0.1:80")
    assert not overrides.set_state(*first, "ready", "ops", 1.0)
    assert overrides.set_state(*first, "drain", "ops", 2.0)
    assert not overrides.set_state(*first, "drain", "dev", 3.0)
    assert overrides.set_weight(*first, 5, 1, "ops", 2.0)
    assert not overrides.set_weight(*first, 5, 1, "dev", 3.0)
    assert not overrides.set_weight("app", "10.0.0.2:80", "10.0.0.2:80", 1, 1, "dev", 3.0)
    assert {view.by for view in overrides.views()} == {"ops"}


@pytest.mark.parametrize(("state", "down", "first"), [
    ("ready", {"drain": False, "maint": False}, None),
    ("drain", {"drain": True, "maint": False}, ("drain", True)),
    ("maint", {"drain": False, "maint": True}, ("maint", True)),
])
def test_a_state_is_told_to_the_server(state: State, down: dict[str, bool], first: tuple[str, bool] | None) -> None:
    found, overrides = config("10.0.0.1:80"), Overrides()
    overrides.set_state("app", "10.0.0.1:80", "10.0.0.1:80", state, "ops", 1.0)
    member = member_of(overrides, found, "10.0.0.1:80")
    assert overrides.state("app", member) == state
    told = marked(overrides, member)
    assert told.down == down
    assert first in (None, told.told[0]), "the reason that holds goes up before the other falls"


def test_a_name_stands_for_its_addresses_and_one_of_them_may_differ() -> None:
    found, overrides = config("app.internal:80"), Overrides()
    overrides.set_state("app", "app.internal:80", "app.internal:80", "drain", "ops", 1.0)
    overrides.set_weight("app", "app.internal:80", "app.internal:80", 3, 1, "ops", 1.0)
    overrides.set_weight("app", "10.1.0.2:80", "app.internal:80", 7, 1, "ops", 1.0)
    overrides.set_state("app", "10.1.0.2:80", "app.internal:80", "maint", "ops", 1.0)
    assert labels(overrides, found, {"app.internal": ("10.1.0.1", "10.1.0.2", "10.1.0.9")}) == {
        "10.1.0.1:80": 3, "10.1.0.2:80": 7, "10.1.0.9:80": 3}
    assert [overrides.state("app", member) for member in overrides.members(found, ADDRESSES)["app"]] == ["drain", "maint"]
    overrides.set_state("app", "app.internal:80", "app.internal:80", "ready", "ops", 2.0)
    assert {overrides.state("app", member) for member in overrides.members(found, ADDRESSES)["app"]} == {"ready"}
    overrides.remove("app", "app.internal:80", "app.internal:80", "ops", 3.0)
    assert labels(overrides, found, ADDRESSES) == {}


def test_a_change_is_tried_on_a_copy() -> None:
    overrides = Overrides()
    trial = overrides.copy()
    trial.set_state("app", "10.0.0.1:80", "10.0.0.1:80", "drain", "ops", 1.0)
    assert (len(trial.views()), overrides.views()) == (1, ())


def test_a_reload_drops_what_speaks_of_nothing_any_more() -> None:
    overrides = Overrides()
    for server in ("10.0.0.1:80", "10.0.0.2:80"):
        overrides.set_state("app", server, server, "drain", "ops", 1.0)
    overrides.set_state("old", "10.0.0.1:80", "10.0.0.1:80", "drain", "ops", 1.0)
    overrides.set_state("app", "10.1.0.1:80", "app.internal:80", "maint", "ops", 1.0)
    overrides.add("app", parse_server({"address": "10.0.0.3:80"}), "ops", 2.0)
    overrides.set_weight("app", "10.0.0.3:80", "10.0.0.3:80", 4, 1, "ops", 2.0)
    dropped = overrides.keep_only(config("10.0.0.1:80", "app.internal:80"))
    assert [(view.upstream, view.server) for view in dropped] == [("app", "10.0.0.2:80"), ("old", "10.0.0.1:80")]
    assert [view.server for view in overrides.views()] == ["10.0.0.1:80", "10.1.0.1:80", "10.0.0.3:80", "10.0.0.3:80"]


def test_an_added_server_becomes_the_configs_own() -> None:
    overrides = Overrides()
    overrides.add("app", parse_server({"address": "10.0.0.3:80"}), "ops", 1.0)
    overrides.set_state("app", "10.0.0.3:80", "10.0.0.3:80", "drain", "ops", 2.0)
    found = config("10.0.0.3:80")
    assert [view.change for view in overrides.keep_only(found)] == ["added"]
    assert [view.change for view in overrides.views()] == ["drain"]
    assert labels(overrides, found) == {"10.0.0.3:80": 1}


@pytest.mark.parametrize(("server", "words"), [
    ({"address": "10.0.0.1"}, "lacks a port"),
    ({"address": "10.0.0.1:80", "weight": 0}, "out of bounds"),
    ({"address": "10.0.0.1:80", "wieght": 3}, "did you mean `weight`"),
    ({}, "missing option `address`"),
    ({"address": "10.0.0.1:x", "weight": "a"}, "is not a port"),
])
def test_a_server_is_read_as_the_config_reads_it(server: dict[str, Any], words: str) -> None:
    with pytest.raises(OverrideError, match=words) as caught:
        parse_server(server)
    assert caught.value.code.code == "PXD-224"
    assert caught.value.diagnostics


def test_states_weights_and_addresses() -> None:
    assert (parse_state("maint"), parse_weight(65_535)) == ("maint", 65_535)
    for weight in (0, 65_536, True, "3", 1.5, None):
        with pytest.raises(OverrideError, match="1 to 65535"):
            parse_weight(weight)
    for state in ("up", "", None, 3):
        with pytest.raises(OverrideError, match="ready, drain, maint"):
            parse_state(state)
    assert spelling("APP.internal.:80") == "app.internal:80"
    assert spelling("[::0001]:80") == "[::1]:80"
    assert spelling("what is this") == "what is this"
