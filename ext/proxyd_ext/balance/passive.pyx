"""Passive ejection by failures in a row (see passive.pxd). Rates over time are the control plane's (proxyd/health)."""
from libc.stdint cimport int32_t
from proxyd_ext.core.shim cimport cas_i64, fetch_add_int, fetch_add_u64, load_i64, load_int, store_i64, store_int


cdef int32_t _out(const PoolData* pool, int64_t now_ms) noexcept nogil:
    """Servers that are ejected now."""
    cdef int32_t i, out = 0
    for i in range(pool.count):
        if load_i64(&pool.members[i].server.ejected_until_ms) > now_ms:
            out += 1
    return out


cdef bint note_failure(const PoolData* pool, ServerData* server, int64_t now_ms) noexcept nogil:
    """The passive_failures-th failure in a row ejects, unless max_ejected servers are out already; each ejection after another takes
    longer. A server that comes back keeps its count until it succeeds, so its first failure puts it out again."""
    cdef int failures = fetch_add_int(&server.failures, 1) + 1
    cdef int64_t until = load_i64(&server.ejected_until_ms), ms
    if pool.passive_failures == 0 or pool.max_ejected == 0 or failures < pool.passive_failures or until > now_ms:
        return False
    ms = pool.eject_ms * (load_int(&server.ejected_in_row) + 1)
    if ms > pool.eject_max_ms:
        ms = pool.eject_max_ms if pool.eject_max_ms > pool.eject_ms else pool.eject_ms
    if _out(pool, now_ms) >= pool.max_ejected:
        return False
    # Claimed first and counted again after: of two engines that eject at the same time, both see both, so never more than max_ejected stay
    # out.
    if not cas_i64(&server.ejected_until_ms, &until, now_ms + ms):
        return False
    if _out(pool, now_ms) > pool.max_ejected:
        store_i64(&server.ejected_until_ms, 0)
        return False
    fetch_add_int(&server.ejected_in_row, 1)
    fetch_add_u64(&server.ejections, 1)
    return True


cdef void note_success(ServerData* server) noexcept nogil:
    if load_int(&server.failures) != 0:
        store_int(&server.failures, 0)
