"""What shim.h offers: atomics with one writer or many, branch hints, INVARIANT."""
from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef extern from "proxyd_ext/core/shim.h" nogil:
    bint PXD_LIKELY(bint condition)
    bint PXD_UNLIKELY(bint condition)
    void INVARIANT(bint condition)

    # One writer, any reader.
    void counter_add "pxd_counter_add"(uint64_t* counter, uint64_t n)
    uint64_t load_u64 "pxd_load_relaxed"(const uint64_t* p)
    void store_u64 "pxd_store_relaxed"(uint64_t* p, uint64_t value)

    # Any writer.
    int64_t fetch_add_i64 "pxd_fetch_add"(int64_t* p, int64_t n)
    uint64_t fetch_add_u64 "pxd_fetch_add"(uint64_t* p, uint64_t n)
    int64_t load_i64 "pxd_load_relaxed"(const int64_t* p)
    void store_i64 "pxd_store_relaxed"(int64_t* p, int64_t value)
    int64_t load_acquire_i64 "pxd_load_acquire"(const int64_t* p)
    uint64_t load_acquire_u64 "pxd_load_acquire"(const uint64_t* p)
    void store_release_u64 "pxd_store_release"(uint64_t* p, uint64_t value)
    void store_release_i64 "pxd_store_release"(int64_t* p, int64_t value)
    uint32_t load_u32 "pxd_load_relaxed"(const uint32_t* p)
    void store_u32 "pxd_store_relaxed"(uint32_t* p, uint32_t value)
    uint32_t load_acquire_u32 "pxd_load_acquire"(const uint32_t* p)
    void store_release_u32 "pxd_store_release"(uint32_t* p, uint32_t value)
    int fetch_or_int "pxd_fetch_or"(int* p, int bits)
    int fetch_and_int "pxd_fetch_and"(int* p, int bits)
    int fetch_add_int "pxd_fetch_add"(int* p, int n)
    int load_int "pxd_load_relaxed"(const int* p)
    int load_acquire_int "pxd_load_acquire"(const int* p)
    void store_int "pxd_store_relaxed"(int* p, int value)
    void store_release_int "pxd_store_release"(int* p, int value)
    void* exchange_ptr "pxd_exchange_ptr"(void** p, void* value)
    void* load_acquire_ptr "pxd_load_acquire"(void** p)
    void store_release_ptr "pxd_store_release"(void** p, void* value)
    bint cas_u64 "pxd_cas_u64"(uint64_t* p, uint64_t* expected, uint64_t desired)
    void* load_fenced_ptr "pxd_load_fenced"(void** p)          # sequentially consistent, as the next
    void store_fenced_ptr "pxd_store_fenced"(void** p, void* value)
    void cpu_relax "pxd_cpu_relax"()
    bint cas_int "pxd_cas_int"(int* p, int* expected, int desired)
    bint cas_i64 "pxd_cas_i64"(int64_t* p, int64_t* expected, int64_t desired)

    bint less_pair "pxd_less_pair"(uint64_t high_a, uint64_t low_a, uint64_t high_b, uint64_t low_b)
    uint64_t double_bits "pxd_double_bits"(double x)       # order as those of numbers that are not negative

    enum:
        PXD_DEBUG
    void live_add "pxd_live_add"(int64_t* counter, int64_t n)
