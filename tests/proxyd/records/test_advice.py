"""There is advice for every fault, and it names options that there are."""
from __future__ import annotations

import re

import pytest

from proxyd.cli.entry import VERBS
from proxyd.config.explain import find
from proxyd.records.advice import ADVICE, advice
from proxyd_ext.core.fault import faults

NO_SUCCESS = set(faults()) - {"none"}


def test_every_fault_has_advice() -> None:
    assert set(ADVICE) == NO_SUCCESS


@pytest.mark.parametrize("word", sorted(NO_SUCCESS))
def test_it_is_found_by_the_sentence_of_the_record(word: str) -> None:
    assert advice(str(faults()[word]["sentence"]))


def test_options_and_commands_exist() -> None:
    quoted = {text for sentence in ADVICE.values() for text in re.findall(r"`([^`]+)`", sentence)}
    options = {text for text in quoted if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", text)}
    assert {text for text in options if not find(text)} == set()
    commands = {text.split()[1] for text in quoted if text.startswith("proxyd ")}
    assert commands <= {*VERBS, "doctor"}
