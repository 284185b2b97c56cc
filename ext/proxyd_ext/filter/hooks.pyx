"""Which hooks of a user's filter engines ask right now (see hooks.pxd)."""
import itertools

from libc.stdlib cimport calloc, free
from proxyd_ext.core.shim cimport counter_add, fetch_and_int, fetch_or_int, load_int, load_u64

_ids = itertools.count(1)
_WORDS = ("asked_request", "asked_response", "changed", "replied", "failed", "timeout", "passed_open", "refused_closed")


cdef void hooks_count(HooksData* hooks, int engine, int what) noexcept nogil:
    counter_add(&hooks.local[engine].count[what], 1)


cdef class Hooks:
    """Neither hook is asked at first."""

    def __cinit__(self, str name):
        self.data = <HooksData*>calloc(1, sizeof(HooksData))
        if self.data == NULL:
            raise MemoryError
        self.name = name
        self.data.id = next(_ids) & 0x3FFFFFFF

    def __dealloc__(self):
        free(self.data)

    @property
    def id(self) -> int:
        return self.data.id

    def _set(self, int bit, bint on) -> None:
        if on:
            fetch_or_int(&self.data.bits, bit)
        else:
            fetch_and_int(&self.data.bits, ~bit)

    @property
    def request(self) -> bool:
        return (load_int(&self.data.bits) & HOOK_REQUEST) != 0

    @request.setter
    def request(self, bint on):
        self._set(HOOK_REQUEST, on)

    @property
    def response(self) -> bool:
        return (load_int(&self.data.bits) & HOOK_RESPONSE) != 0

    @response.setter
    def response(self, bint on):
        self._set(HOOK_RESPONSE, on)

    @property
    def failing(self) -> bool:
        return (load_int(&self.data.bits) & HOOK_FAILING) != 0

    @failing.setter
    def failing(self, bint on):
        self._set(HOOK_FAILING, on)

    def stats(self) -> dict:
        cdef int engine, what
        cdef uint64_t[HOOKED_COUNT] sums
        for what in range(HOOKED_COUNT):
            sums[what] = 0
            for engine in range(ENGINES_MAX):
                sums[what] += load_u64(&self.data.local[engine].count[what])
        return {_WORDS[what]: sums[what] for what in range(HOOKED_COUNT)}
