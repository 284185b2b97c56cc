"""What the C heap holds."""
from __future__ import annotations

import ctypes


class _Figures(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]


def heap_in_use() -> int:
    """Bytes that malloc has given out, large blocks included."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Figures
    figures = mallinfo2()
    return int(figures.uordblks + figures.hblkhd)
