from __future__ import annotations

from proxyd.snapshot.members import Member, members_of, names_of
from tests.support.config import config_of

CONFIG = config_of("""
    listen: :8080
    to: app
    upstreams:
      app:
        servers:
          - 10.0.0.1:80
          - {address: "app.internal:8000", weight: 3}
          - {address: "unix:/run/app.sock", backup: true}
          - "[2001:db8::1]:80"
""")


def test_names_are_what_has_to_be_looked_up() -> None:
    assert names_of(CONFIG) == {"app.internal"}


def test_a_name_becomes_a_member_for_each_of_its_addresses() -> None:
    members = members_of(CONFIG, {"app.internal": ("10.0.0.7", "10.0.0.8")})
    assert members["app"] == (
        Member("10.0.0.1:80", "10.0.0.1:80", ("10.0.0.1", 80), 1),
        Member("10.0.0.7:8000", "app.internal:8000", ("10.0.0.7", 8000), 3),
        Member("10.0.0.8:8000", "app.internal:8000", ("10.0.0.8", 8000), 3),
        Member("unix:/run/app.sock", "unix:/run/app.sock", "/run/app.sock", 1, 1),
        Member("[2001:db8::1]:80", "[2001:db8::1]:80", ("2001:db8::1", 80), 1),
    )


def test_a_name_without_an_address_stays_as_a_member_that_cannot_be_reached() -> None:
    assert Member("app.internal:8000", "app.internal:8000", None, 3) in members_of(CONFIG, {"app.internal": ()})["app"]
    assert members_of(CONFIG, {}) == members_of(CONFIG, {"app.internal": ()})


def test_a_member_has_what_its_server_has() -> None:
    config = config_of("""
        listen: :8080
        to: app
        upstreams:
          app: {servers: [{address: "a.internal:80", priority: 3, zone: b, max_requests: 9}, {address: "10.0.0.2:80", backup: true}]}
    """)
    one, two = members_of(config, {"a.internal": ("10.0.0.1",)})["app"]
    assert (one.tier, one.zone, one.max_requests, one.backup) == (3, "b", 9, True)
    assert (two.tier, two.zone, two.max_requests, two.backup) == (1, "", 0, True)


def test_an_address_counts_once() -> None:
    config = config_of("""
        listen: :8080
        to: app
        upstreams: {app: {servers: [{address: "a.internal:80", weight: 2}, "b.internal:80", "b.internal:81"]}}
    """)
    members = members_of(config, {"a.internal": ("10.0.0.1",), "b.internal": ("10.0.0.1",)})
    assert [(member.label, member.source, member.weight) for member in members["app"]] == [
        ("10.0.0.1:80", "a.internal:80", 2),
        ("10.0.0.1:81", "b.internal:81", 1),
    ]
