from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from proxyd.admin.client import Answer
from proxyd.admin.openapi import document
from proxyd.admin.request import EVENTS, JSON, View

Ask = Callable[..., Awaitable[Answer]]


@pytest.fixture
async def described(ask: Ask) -> Any:
    return (await ask("GET", "/openapi.json")).json()


async def test_it_has_every_path_of_the_index(ask: Ask, described: Any) -> None:
    index = {(entry["method"].lower(), re.sub(r":[^}]*", "", entry["path"])) for entry in (await ask("GET", "")).json()}
    found = {(method, path) for path, item in described["paths"].items() for method in item if path.startswith("/api/v1")}
    assert found == index
    assert "/metrics" in described["paths"], "at the root, too"


async def test_its_structure(described: Any) -> None:
    """As the specification has it, §4.8: what a reader of documents trips over."""
    assert described["openapi"].startswith("3.1.")
    assert described["info"].keys() >= {"title", "version"}
    ids = []
    for path, item in described["paths"].items():
        assert path.startswith("/")
        variables = re.findall(r"\{([^}]*)\}", path)
        for operation in item.values():
            ids.append(operation["operationId"])
            parameters = operation.get("parameters", [])
            assert [entry["name"] for entry in parameters if entry["in"] == "path"] == variables
            assert all(entry["required"] is (entry["in"] == "path") and "schema" in entry for entry in parameters)
            assert all(answer["description"] for answer in operation["responses"].values())
            for answer in operation["responses"].values():
                for content in answer["content"].values():
                    target = content["schema"].get("$ref", "#").removeprefix("#").split("/")[1:]
                    place = described
                    for step in target:
                        place = place[step]
    assert len(ids) == len(set(ids))


async def test_roles_parameters_and_problems(described: Any) -> None:
    stop = described["paths"]["/api/v1/stop"]["post"]
    assert (stop["x-role"], stop["requestBody"]["content"].keys()) == ("admin", {JSON})
    assert stop["responses"]["403"]["content"].keys() == {"application/problem+json"}
    asked = described["paths"]["/api/v1/cache/why"]["get"]["parameters"]
    assert [entry["name"] for entry in asked] == ["url", "header", "client", "listener"]
    assert "security" not in described["paths"]["/api/v1/session"]["post"]
    assert described["paths"]["/api/v1/config"]["post"]["requestBody"]["content"].keys() == {"application/yaml"}


def test_a_variable_with_a_pattern_and_a_stream() -> None:
    async def handler(request: Any) -> Any: ...

    view = View("GET", "/a/{name:.+}/b", handler, "a stream", answers=EVENTS, query={"limit": "how many"})
    operation = document([view], "/api/v1", "1")["paths"]["/api/v1/a/{name}/b"]["get"]
    assert operation["operationId"] == "get_api_v1_a_name_b"
    assert operation["parameters"][0] == {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    assert operation["responses"]["2XX"]["content"] == {EVENTS: {"schema": {"type": "string"}}}
