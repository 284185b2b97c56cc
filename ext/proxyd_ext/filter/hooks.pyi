class Hooks:
    """Which hooks of a `python` filter engines ask, right now; outlives snapshots. `id` is unique and grows."""

    id: int
    name: str
    request: bool
    response: bool
    def __init__(self, name: str) -> None:
        """Neither hook is asked, and `failing` is False."""
    failing: bool
    """The filter is out of order (its file cannot be loaded, or it was disabled after failures): `fail_open` decides at once."""
    def stats(self) -> dict[str, int]:
        """asked_request, asked_response, changed, replied, failed, timeout, passed_open, refused_closed."""
