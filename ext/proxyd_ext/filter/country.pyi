class Countries:
    """Which country an address is in: a MaxMind database, searched on the data plane. Immutable."""

    def __init__(self, path: str) -> None:
        """Map the file. OSError or ValueError where it cannot be used."""
    def country(self, address: str) -> str:
        """ISO 3166-1 alpha-2, or "" where the database does not say."""
    @property
    def build_epoch(self) -> int: ...
