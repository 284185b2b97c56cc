PERIODS: dict[str, int]

def period_facts(period: str, wall_s: int) -> tuple[int, int]:
    """(number of the period, the second at which the next begins), both UTC; period: day, week or month."""
