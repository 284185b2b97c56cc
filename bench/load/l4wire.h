/* What l4load and l4origin say to each other, over TCP and UDP: a request is a head of 16 bytes and a body; numbers in the host's order.
 * Bytes that are sent are cut from one pattern that never repeats, at a place that the request's tag names: an answer that belongs to
 * another request, or has lost or gained a byte, differs. harness/l4.py speaks the same.
 */
#ifndef L4WIRE_H
#define L4WIRE_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    L4_ECHO = 0x4F484345,  /* "ECHO": the request itself comes back */
    L4_BULK = 0x4B4C5542,  /* "BULK": `answer` bytes of the pattern come back */
    L4_WHO = 0x3F4F4857,   /* "WHO?": a head with the sender's port as the server sees it in `answer`, the server's own in `tag` */
    L4_STATS = 0x54415453, /* "STAT": L4_STATS_BYTES of JSON, filled up with spaces; TCP only */

    L4_HEAD = 16,
    L4_STATS_BYTES = 128,
    L4_TAGS = 4096, /* places in the pattern at which an answer may begin */
    L4_ANSWER_MAX = 4 * 1024 * 1024,
    L4_DATAGRAM_MAX = 2048,
};

typedef struct {
    uint32_t kind;
    uint32_t length; /* of the whole request, with this head */
    uint32_t answer; /* bytes that are wanted: L4_BULK */
    uint32_t tag;
} l4_head_t;

_Static_assert(sizeof(l4_head_t) == L4_HEAD, "the head has no gaps");

/* L4_ANSWER_MAX + L4_TAGS bytes, the same in every process (splitmix64); NULL without memory. */
static inline char *l4_pattern_new(void) {
    size_t size = (size_t)L4_ANSWER_MAX + L4_TAGS;
    char *pattern = malloc(size);
    for (size_t i = 0; pattern && i < size; i += sizeof(uint64_t)) {
        uint64_t z = (i + 1) * 0x9E3779B97F4A7C15u;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        memcpy(pattern + i, &z, sizeof z);
    }
    return pattern;
}

static inline const char *l4_pattern_of(const char *pattern, uint32_t tag) { return pattern + tag % L4_TAGS; }

#endif
