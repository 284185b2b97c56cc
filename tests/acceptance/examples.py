"""The configs of config/examples, as users would change them: with the addresses of their own servers."""
from __future__ import annotations

import re
from collections.abc import Mapping

from tests.acceptance.stage import ROOT


def example(name: str, changes: Mapping[str, str]) -> str:
    """config/examples/NAME.yaml with other texts for some of its own, each of which must be there; no address of a network is left."""
    text = (ROOT / "config" / "examples" / f"{name}.yaml").read_text()
    # In one go, so that what was put in is not changed again; the longest first, since 10.0.0.1:53 is in 10.0.0.1:5353.
    pattern = "|".join(re.escape(shown) for shown in sorted(changes, key=len, reverse=True))
    missing = set(changes) - set(re.findall(pattern, text))
    assert not missing, f"{name}.yaml does not say {missing}"
    changed = re.sub(pattern, lambda found: changes[found[0]], text)
    left = re.findall(r"\b10(?:\.\d+){3}\S*", "".join(line.partition("#")[0] for line in changed.splitlines()))
    assert not left, f"{name}.yaml says {left}"
    return changed
