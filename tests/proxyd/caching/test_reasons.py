from __future__ import annotations

from proxyd.caching.reasons import REASONS, reason_of
from proxyd_ext.cache.store import reason_words


def test_every_word_of_the_store_has_its_sentence_and_there_is_no_other() -> None:
    words = reason_words()
    assert set(words) == set(REASONS)
    assert len(words) == len(set(words))


def test_a_word_that_is_not_known_stands_for_itself() -> None:
    assert "zeal" in reason_of("zeal").text
