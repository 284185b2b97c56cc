# cython: cdivision=True
"""A table of addresses with one short lock a bucket (see clients.pxd). Touched once when a connection comes and once when it goes.

It is bounded by the number of connections: an address without one has no entry.
"""
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from proxyd_ext.core.address cimport address_equals
from proxyd_ext.core.hash cimport hash_bytes
from proxyd_ext.core.shim cimport fetch_or_int, store_release_int

cdef enum:
    BUCKETS = 4096

cdef ClientCount* _table[BUCKETS]
cdef int[BUCKETS] _locks


cdef inline uint64_t _bucket(const Address* address) noexcept nogil:
    return hash_bytes(address.bytes, 16) % BUCKETS


cdef inline void _lock(uint64_t bucket) noexcept nogil:
    while fetch_or_int(&_locks[bucket], 1):
        pass


cdef inline void _unlock(uint64_t bucket) noexcept nogil:
    store_release_int(&_locks[bucket], 0)


cdef ClientCount* clients_enter(const Address* address, int32_t limit) noexcept nogil:
    cdef uint64_t bucket = _bucket(address)
    cdef ClientCount* count
    _lock(bucket)
    count = _table[bucket]
    while count != NULL and not address_equals(&count.address, address):
        count = count.next
    if count == NULL:
        count = <ClientCount*>malloc(sizeof(ClientCount))
        if count != NULL:
            count.address = address[0]
            count.count = 1
            count.next = _table[bucket]
            _table[bucket] = count
    elif count.count >= limit:
        count = NULL
    else:
        count.count += 1
    _unlock(bucket)
    return count


cdef void clients_leave(ClientCount* count) noexcept nogil:
    cdef uint64_t bucket = _bucket(&count.address)
    cdef ClientCount** at
    _lock(bucket)
    count.count -= 1
    if count.count == 0:
        at = &_table[bucket]
        while at[0] != count:
            at = &at[0].next
        at[0] = count.next
        free(count)
    _unlock(bucket)
