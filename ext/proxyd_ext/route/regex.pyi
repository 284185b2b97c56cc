from proxyd_ext.route.pattern import RegexError as RegexError

class Regex:
    """A compiled pattern; RegexError where it is not of our language (pattern.py) or too large."""

    pattern: str
    prefix: bytes | None       # what every text begins with in which it occurs; None: it may occur anywhere
    def __init__(self, pattern: str, *, ignore_case: bool = False, dfa_states: int = 2000) -> None:
        """dfa_states: how large the deterministic automaton may become before the other one is simulated; 0 asks for that at once."""
    @property
    def states(self) -> int:
        """Of the deterministic automaton; 0: there is none."""
    def search(self, text: bytes) -> bool: ...
    def steps(self, text: bytes) -> int:
        """How many looks into tables the search took."""
