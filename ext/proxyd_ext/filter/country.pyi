class Countries:
    """Which country an address is in: a MaxMind database, searched on the data plane. Immutable."""

    build_epoch: int
    """When MaxMind made the database: seconds since 1970."""
    codes: frozenset[str]
    """The countries that occur in it."""
    def __init__(self, path: str) -> None:
        """Read the file. OSError where that cannot be done, ValueError where it is no database of countries; the messages name no path."""
    def country(self, address: str) -> str:
        """ISO 3166-1 alpha-2, or "" where the database does not say, or for no address."""
