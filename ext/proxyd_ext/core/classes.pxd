"""Tables of counts in short: answers by the class of their status, and all together. For readers that come every second."""
from libc.stdint cimport uint32_t, uint64_t
from proxyd_ext.core.shim cimport load_acquire_u32, load_u64
from proxyd_ext.core.stats cimport COUNT_SLOTS, CountTable


cdef enum:
    CLASSES = 6      # 1xx to 5xx, and what is none of them


cdef inline void count_classes(const CountTable* table, uint64_t* classes) noexcept nogil:
    """Add counts by status code (the lower half of their keys) to those of their classes."""
    cdef int i, hundreds
    cdef uint32_t key
    for i in range(COUNT_SLOTS):
        key = load_acquire_u32(&table.key[i])
        if key == 0:
            break
        hundreds = <int>((key & 0xFFFF) // 100)
        classes[hundreds - 1 if 1 <= hundreds <= 5 else CLASSES - 1] += load_u64(&table.count[i])
    classes[CLASSES - 1] += load_u64(&table.other)


cdef inline uint64_t count_sum(const CountTable* table) noexcept nogil:
    cdef int i
    cdef uint64_t found = load_u64(&table.other)
    for i in range(COUNT_SLOTS):
        if load_acquire_u32(&table.key[i]) == 0:
            break
        found += load_u64(&table.count[i])
    return found
