"""What Python sees of conditional requests: entry points for tests and tools. Heads are whole; ValueError where one is refused."""

def judge_conditions(request: bytes, answer: bytes, now_s: int, *, origin: bool = False) -> str:
    """evaluate_conditions against an answer received at now_s: "whole", "304", "412" or "origin"."""

def range_counts(request: bytes, answer: bytes, now_s: int) -> bool:
    """if_range_matches against an answer received at now_s."""

def may_freshen(stored: bytes, not_modified: bytes, now_s: int) -> bool:
    """freshens: may this 304 freshen that stored answer?"""
