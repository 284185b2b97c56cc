"""No config makes `proxyd check` raise: mutants of each example and of the corpus of broken configs (tests/support/mutations.py) go through
all that a reload does with a config before it serves. PROXYD_MUTANTS says how many; a failure names the seed that makes its mutant."""
from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from proxyd.config import load
from proxyd.config.canonical import canonical_text, config_hash
from proxyd.diagnostics import render_all, render_json
from proxyd.snapshot.explain import compile_unbound
from proxyd.snapshot.rehearsal import rehearse
from tests.support.corpus import FOLDER
from tests.support.mutations import mutant, texts

MUTANTS = int(os.environ.get("PROXYD_MUTANTS", "20000"))
LONGEST_S = 5.0     # for one; most take a few milliseconds


def test_no_mutant_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)     # what its files name is there
    examples, path, right = texts(), tmp_path / "proxyd.yaml", 0
    for seed in range(MUTANTS):
        chance = random.Random(seed)
        path.write_bytes(mutant(chance.choice(examples), chance))
        began = time.process_time()
        try:
            result = load(path, env={})
            render_all(result.diagnostics)
            render_json(result.diagnostics)
            if result.config is not None:
                right += 1
                rehearse(result.config)
                config_hash(result.config)
                canonical_text(result.config)
                compile_unbound(result.config)
        except Exception as error:
            raise AssertionError(f"mutant {seed}") from error
        assert (result.config is None) == bool(result.errors), f"mutant {seed}"
        assert time.process_time() - began < LONGEST_S, f"mutant {seed}"
    assert right > MUTANTS // 100, "mutants that are right are tried further"
