"""What proxyd writes for machines, as JSON Schemas. (The config's is generated: config/schema.py.)"""
from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def access_record() -> dict[str, Any]:
    """Of a line of the access log in the format `json`."""
    found: dict[str, Any] = json.loads(files(__name__).joinpath("access-record.json").read_text())
    return found
