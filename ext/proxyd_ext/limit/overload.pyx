"""The overload guard's word to the engines (see overload.pxd)."""
from proxyd_ext.core.shim cimport load_int, store_int


cdef class Overload:
    def __cinit__(self):
        self.data.shed_below = 0
        self.data.retry_s = 1

    @property
    def shed_below(self) -> int:
        return load_int(&self.data.shed_below)

    @shed_below.setter
    def shed_below(self, int value):
        if not 0 <= value <= 3:
            raise ValueError("shed_below is 0 to 3: critical requests are never shed")
        store_int(&self.data.shed_below, value)

    @property
    def retry_s(self) -> int:
        return load_int(&self.data.retry_s)

    @retry_s.setter
    def retry_s(self, int value):
        store_int(&self.data.retry_s, max(1, min(value, 86400)))
