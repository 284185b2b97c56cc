/* Counts of durations in nanoseconds, in buckets whose width is 1/64 of their value: a percentile is off by 1.6 % at most (as HdrHistogram). */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H
#include <stdint.h>

enum { HISTOGRAM_STEPS = 64, HISTOGRAM_BUCKETS = 59 * HISTOGRAM_STEPS };

typedef struct {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total, max_ns;
} histogram_t;

static inline unsigned histogram_bucket(uint64_t ns) {
    if (ns < HISTOGRAM_STEPS) return (unsigned)ns;
    unsigned shift = (unsigned)(63 - __builtin_clzll(ns)) - 6;
    return (shift + 1) * HISTOGRAM_STEPS + (unsigned)(ns >> shift) - HISTOGRAM_STEPS;
}

/* The lowest duration that belongs to a bucket. */
static inline uint64_t histogram_floor(unsigned bucket) {
    if (bucket < HISTOGRAM_STEPS) return bucket;
    return (uint64_t)(bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS) << (bucket / HISTOGRAM_STEPS - 1);
}

static inline void histogram_add(histogram_t *h, uint64_t ns) {
    h->counts[histogram_bucket(ns)]++;
    h->total++;
    if (ns > h->max_ns) h->max_ns = ns;
}

/* Nanoseconds that `percent` of the durations do not exceed, but for a bucket's width; 0 without any. */
static inline uint64_t histogram_percentile(const histogram_t *h, double percent) {
    uint64_t wanted = (uint64_t)((double)h->total * percent / 100.0), seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        if (h->counts[i] && (seen += h->counts[i]) >= wanted) return histogram_floor(i);
    return 0;
}

#endif
