"""Fetches under way: one a variant leads, others wait for its outcome.

A fetch and its waiters hang in their base and belong to the shard's lock. Who is to be woken is promised under it and rung after it
(`alarm.pxd`).
"""
from libc.stdint cimport uint32_t, uint64_t
from proxyd_ext.cache.memory cimport StoreData
from proxyd_ext.cache.object cimport Base, Fetch, FetchWaiter, Object


cdef enum:
    LEAD_YOURS = 0            # fetch it; others may wait for you
    LEAD_ALONE = 1            # fetch it; another does so too, and whoever waits waits for that one
    LEAD_WAIT = 2             # wait for the other's
    LEAD_AGAIN = 3            # something has been stored meanwhile: look again


# Fetch the variant of a base that is pinned, or wait for who does; `version`: of the base, when it was looked at.  LEAD_*.
cdef int store_lead(StoreData* store, Base* base, uint64_t variant, uint32_t version, Fetch* fetch, FetchWaiter* waiter,
                    bint may_wait) noexcept nogil
cdef void store_resolve(StoreData* store, Fetch* fetch, int outcome, Object* object, int fault) noexcept nogil   # FETCH_*
cdef void store_hand_over(StoreData* store, Fetch* fetch) noexcept nogil     # the leader goes without an outcome: one who waits leads
# wait no more; what was given meanwhile is given back
cdef void store_quit(StoreData* store, Base* base, FetchWaiter* waiter) noexcept nogil
cdef int store_outcome(StoreData* store, Base* base, FetchWaiter* waiter) noexcept nogil      # FETCH_*; 0: still waiting
