class Overload:
    shed_below: int
    """Requests of classes below it are shed: 0 none, 1 low, 2 low and normal, 3 all but critical."""
    retry_s: int
    def __init__(self) -> None: ...
