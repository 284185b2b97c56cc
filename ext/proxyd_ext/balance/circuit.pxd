"""An upstream's circuit, as those who want to use it see it. The control plane opens and closes it (proxyd/governor/breaker.py)."""
from proxyd_ext.balance.pool cimport CIRCUIT_CLOSED, CIRCUIT_OPEN, UpstreamData
from proxyd_ext.core.shim cimport fetch_add_i64, load_i64, load_int


cdef inline bint circuit_admits(UpstreamData* state, bint* probe) noexcept nogil:
    """Half open, it lets a few probes through: `probe` is set, and circuit_told or circuit_give follows."""
    cdef int circuit = load_int(&state.circuit)
    if circuit == CIRCUIT_CLOSED:
        return True
    if circuit == CIRCUIT_OPEN:
        return False
    if fetch_add_i64(&state.probes_left, -1) <= 0:
        fetch_add_i64(&state.probes_left, 1)
        return False
    probe[0] = True
    return True


cdef inline void circuit_told(UpstreamData* state, bint failed) noexcept nogil:
    """How a probe went."""
    fetch_add_i64(&state.probes_failed if failed else &state.probes_ok, 1)


cdef inline void circuit_give(UpstreamData* state) noexcept nogil:
    """A probe that told nothing is given back."""
    if load_i64(&state.probes_left) < load_i64(&state.probes):    # not one of an earlier trial
        fetch_add_i64(&state.probes_left, 1)
