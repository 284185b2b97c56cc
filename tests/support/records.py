"""Lines of the access log in the format json, held against the schema that proxyd publishes."""
from __future__ import annotations

import json
from importlib import import_module
from typing import Any

from proxyd.schemas import access_record

SCHEMA = access_record()
JSONSCHEMA = import_module("jsonschema")     # it has no type hints of its own
VALIDATOR = JSONSCHEMA.Draft202012Validator(SCHEMA)


def read_record(line: bytes | str) -> dict[str, Any]:
    """One record; fails when it is not what the schema says."""
    record: dict[str, Any] = json.loads(line)
    wrong = [f"{error.json_path}: {error.message}" for found in VALIDATOR.iter_errors(record) for error in (found, *(found.context or ()))]
    assert not wrong, wrong
    return record


def read_records(lines: bytes) -> list[dict[str, Any]]:
    return [read_record(line) for line in lines.splitlines()]
