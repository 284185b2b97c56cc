from __future__ import annotations

import pytest

from proxyd.config import load_text


@pytest.mark.parametrize(
    ("health", "paths"),
    [
        ("{redis: {role: any, password: hunter2}}", ["upstreams.app.health.active[0].redis.password"]),
        ("{active: [tcp, {postgres: {role: any, user: u, password: hunter2}}]}", ["upstreams.app.health.active[1].postgres.password"]),
        ("{redis: {role: any, password: '${env:P}'}}", []),
        ("{redis: {role: any, password: '${env:Q:-hunter2}'}}", ["upstreams.app.health.active[0].redis.password"]),
        ("{redis: any}", []),
    ],
)
def test_a_password_in_the_file(health: str, paths: list[str]) -> None:
    result = load_text(f"listen: ':1'\nto: app\nupstreams: {{app: {{servers: 'a:1', health: {health}}}}}\n", env={"P": "x"})
    assert result.errors == []
    assert [(found.code, found.path) for found in result.warnings] == [("PXD-113", path) for path in paths]
