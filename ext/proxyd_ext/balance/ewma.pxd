# cython: cdivision=True
"""Peak EWMA: an estimate of a server's latency that rises at once and falls slowly (Finagle, `loadbalancer/PeakEwma`; tau 10 s).

The estimate (microseconds, high half) and the time when it was made (milliseconds, low half) share one word, so that engines advance it by
compare-and-swap and a reader never sees one without the other.
"""
from libc.math cimport exp
from libc.stdint cimport int64_t, uint32_t, uint64_t
from proxyd_ext.core.shim cimport cas_u64, load_u64


cdef enum:
    EWMA_TAU_MS = 10000
    EWMA_PENALTY_US = 1000000     # of a server that was asked and has not answered yet: it must earn its second request


cdef inline double _kept(uint64_t word, int64_t now_ms) noexcept nogil:
    """What time has left of the estimate."""
    cdef uint32_t age = <uint32_t>now_ms - <uint32_t>word
    if age > 0x7FFFFFFF:
        return 1.0            # another engine's clock is a moment ahead
    return exp(-<double>age / EWMA_TAU_MS)


cdef inline int64_t ewma_estimate(const uint64_t* word, int64_t now_ms) noexcept nogil:
    """Microseconds; 0: nothing is known, or all of it was long ago."""
    cdef uint64_t now = load_u64(word)
    if now == 0:
        return 0
    return <int64_t>(<double>(now >> 32) * _kept(now, now_ms))


cdef inline void ewma_note(uint64_t* word, int64_t took_us, int64_t now_ms) noexcept nogil:
    """An answer took so long: a peak is taken as it is, anything else is averaged in by the time that has gone by."""
    cdef uint64_t before = load_u64(word), after
    cdef double kept, estimate
    if took_us > <int64_t>0xFFFFFFFF:
        took_us = <int64_t>0xFFFFFFFF
    if took_us < 1:
        took_us = 1
    while True:
        estimate = <double>(before >> 32)
        if took_us > estimate:
            estimate = <double>took_us
        else:
            kept = _kept(before, now_ms)
            estimate = estimate * kept + took_us * (1.0 - kept)
        after = <uint64_t>estimate << 32 | <uint32_t>now_ms
        if cas_u64(word, &before, after):
            return
