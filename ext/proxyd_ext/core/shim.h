/* The few lines of C that Cython cannot say: atomics, branch hints, INVARIANT, live-object counters.
 *
 * INVARIANT stands for "this cannot happen": it names the place and aborts, because on the data plane an exception cannot be
 * raised and going on with a broken state would serve one client another's bytes (design.md §2.6).
 */
#ifndef PROXYD_SHIM_H
#define PROXYD_SHIM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PXD_LIKELY(x) __builtin_expect(!!(x), 1)
#define PXD_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define INVARIANT(condition)                                                                   \
    do {                                                                                       \
        if (PXD_UNLIKELY(!(condition))) {                                                      \
            fprintf(stderr, "proxyd: invariant broken at %s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

/* Relaxed counters have one writer (their engine) and any reader: a plain add, published without tearing. */
#define pxd_counter_add(p, n) __atomic_store_n((p), __atomic_load_n((p), __ATOMIC_RELAXED) + (n), __ATOMIC_RELAXED)
#define pxd_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define pxd_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define pxd_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define pxd_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define pxd_fetch_add(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define pxd_fetch_or(p, v) __atomic_fetch_or((p), (v), __ATOMIC_ACQ_REL)
#define pxd_fetch_and(p, v) __atomic_fetch_and((p), (v), __ATOMIC_ACQ_REL)
#define pxd_exchange_ptr(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)

/* For hazard pointers: a store that later loads of the same thread cannot overtake. */
#define pxd_load_fenced(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define pxd_store_fenced(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)

/* Within a spin: lets the other hardware thread have the core's units. */
#if defined(__x86_64__) || defined(__i386__)
#define pxd_cpu_relax() __builtin_ia32_pause()
#else
#define pxd_cpu_relax() ((void)0)
#endif

static inline int pxd_cas_u64(uint64_t *p, uint64_t *expected, uint64_t desired) {
    return __atomic_compare_exchange_n(p, expected, desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static inline int pxd_cas_i64(int64_t *p, int64_t *expected, int64_t desired) {
    return __atomic_compare_exchange_n(p, expected, desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
static inline int pxd_cas_int(int *p, int *expected, int desired) {
    return __atomic_compare_exchange_n(p, expected, desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* (high, low) < (high, low): two instructions and no branch. */
static inline int pxd_less_pair(uint64_t high_a, uint64_t low_a, uint64_t high_b, uint64_t low_b) {
    return ((unsigned __int128)high_a << 64 | low_a) < ((unsigned __int128)high_b << 64 | low_b);
}

/* The bits of a double that is not negative: such order as the numbers do. */
static inline uint64_t pxd_double_bits(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

/* Live objects are counted only in the debug build (PROXYD_DEBUG=1), where tests assert that births equal deaths. */
#ifdef PROXYD_DEBUG
#define PXD_DEBUG 1
#define pxd_live_add(p, n) __atomic_fetch_add((p), (n), __ATOMIC_RELAXED)
#else
#define PXD_DEBUG 0
#define pxd_live_add(p, n) ((void)0)
#endif

#endif
