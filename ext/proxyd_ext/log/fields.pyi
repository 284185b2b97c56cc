from collections.abc import Mapping

class RecordFields:
    """A native access record made of plain values, by the names of `AccessRecord` (record.pxd).

    A time of None does not apply; a string is bytes, or None for none; what is missing is that of a plain request.  TypeError for a name
    that there is not.
    """

    def __init__(self, values: Mapping[str, int | bytes | None]) -> None: ...
