/* Byte classes and the scans that go 16 bytes at a time (SSE2, which every x86-64 has; 8 at a time elsewhere).
 *
 * In C because Cython has neither constant tables nor intrinsics.  No function reads outside [base, end): where fewer than 16 bytes
 * are left, the last 16 before `end` are loaded and the part in front of `p` is masked off.
 */
#ifndef PROXYD_HTTP1_SCAN_H
#define PROXYD_HTTP1_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define PXD_TOKEN 1        /* tchar, RFC 9110 §5.6.2 */
#define PXD_VALUE 2        /* field-vchar, SP, HTAB, RFC 9110 §5.5 */
#define PXD_TARGET 4       /* visible ASCII but '#': no request target holds anything else, RFC 9112 §3.2 */
#define PXD_HOST 8         /* reg-name of RFC 3986 §3.2.2 without escapes and commas, see split_host */
#define PXD_PATH 16        /* pchar or '/', RFC 3986 §3.3, without '%' */
#define PXD_UNRESERVED 32  /* RFC 3986 §2.3 */
#define PXD_ESCAPE 64      /* visible ASCII that RFC 3986 allows nowhere in a path */

#define PXD_V PXD_VALUE
#define PXD_VT (PXD_VALUE | PXD_TARGET)
#define PXD_ALNUM (PXD_VT | PXD_TOKEN | PXD_HOST | PXD_PATH | PXD_UNRESERVED)
#define PXD_MARK (PXD_ALNUM & ~PXD_UNRESERVED)  /* sub-delims that are tchar, too */
#define PXD_DELIM (PXD_MARK & ~PXD_TOKEN)       /* sub-delims that are not */

static const uint8_t pxd_class[256] = {
    ['\t'] = PXD_V,
    [' '] = PXD_V,
    ['!'] = PXD_MARK,
    ['"'] = PXD_VT | PXD_ESCAPE,
    ['#'] = PXD_V | PXD_TOKEN,
    ['$'] = PXD_MARK,
    ['%'] = PXD_VT | PXD_TOKEN,
    ['&'] = PXD_MARK,
    ['\''] = PXD_MARK,
    ['('] = PXD_DELIM,
    [')'] = PXD_DELIM,
    ['*'] = PXD_MARK,
    ['+'] = PXD_MARK,
    [','] = PXD_DELIM & ~PXD_HOST,
    ['-'] = PXD_ALNUM,
    ['.'] = PXD_ALNUM,
    ['/'] = PXD_VT | PXD_PATH,
    ['0' ... '9'] = PXD_ALNUM,
    [':'] = PXD_VT | PXD_PATH,
    [';'] = PXD_DELIM,
    ['<'] = PXD_VT | PXD_ESCAPE,
    ['='] = PXD_DELIM,
    ['>'] = PXD_VT | PXD_ESCAPE,
    ['?'] = PXD_VT,
    ['@'] = PXD_VT | PXD_PATH,
    ['A' ... 'Z'] = PXD_ALNUM,
    ['['] = PXD_VT | PXD_ESCAPE,
    ['\\'] = PXD_VT | PXD_ESCAPE,
    [']'] = PXD_VT | PXD_ESCAPE,
    ['^'] = PXD_VT | PXD_TOKEN | PXD_ESCAPE,
    ['_'] = PXD_ALNUM,
    ['`'] = PXD_VT | PXD_TOKEN | PXD_ESCAPE,
    ['a' ... 'z'] = PXD_ALNUM,
    ['{'] = PXD_VT | PXD_ESCAPE,
    ['|'] = PXD_VT | PXD_TOKEN | PXD_ESCAPE,
    ['}'] = PXD_VT | PXD_ESCAPE,
    ['~'] = PXD_ALNUM,
    [0x80 ... 0xff] = PXD_V,
};

static inline uint64_t pxd_load8(const void *p) {
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}

#if defined(__SSE2__)

/* One bit for each byte that may not stand in a field value: controls other than HTAB. */
static inline unsigned pxd_bad_value(__m128i x) {
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    __m128i tab = _mm_cmpeq_epi8(x, _mm_set1_epi8('\t'));
    __m128i del = _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, control), del));
}

/* One bit for each byte that may not stand in a request target.  The signed compare takes bytes >= 0x80 along with the controls. */
static inline unsigned pxd_bad_target(__m128i x) {
    __m128i low = _mm_cmplt_epi8(x, _mm_set1_epi8(0x21));
    __m128i hash = _mm_cmpeq_epi8(x, _mm_set1_epi8('#'));
    __m128i del = _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(low, hash), del));
}

#define PXD_SPAN(NAME, BAD, CLASS)                                                                     \
    static inline const uint8_t *NAME(const uint8_t *base, const uint8_t *p, const uint8_t *end) {    \
        unsigned bad;                                                                                  \
        while (end - p >= 16) {                                                                        \
            bad = BAD(_mm_loadu_si128((const __m128i *)(const void *)p));                              \
            if (bad)                                                                                   \
                return p + __builtin_ctz(bad);                                                         \
            p += 16;                                                                                   \
        }                                                                                              \
        if (end - base >= 16 && p < end) {                                                             \
            bad = BAD(_mm_loadu_si128((const __m128i *)(const void *)(end - 16))) >> (16 - (end - p)); \
            return bad ? p + __builtin_ctz(bad) : end;                                                 \
        }                                                                                              \
        while (p < end && (pxd_class[*p] & CLASS))                                                     \
            p++;                                                                                       \
        return p;                                                                                      \
    }

#else

/* Non-zero if one of 8 bytes may be outside the class; a false alarm (HTAB, '#'-like neighbours) only costs the byte loop. */
#define PXD_ONES 0x0101010101010101ull
static inline uint64_t pxd_bad_value(uint64_t x) {
    return ((x - PXD_ONES * 0x20) | ((x ^ (PXD_ONES * 0x7f)) - PXD_ONES)) & ~x & (PXD_ONES * 0x80);
}
static inline uint64_t pxd_bad_target(uint64_t x) {
    return ((x - PXD_ONES * 0x21) | ((x ^ (PXD_ONES * 0x7f)) - PXD_ONES) | ((x ^ (PXD_ONES * '#')) - PXD_ONES) | x) & (PXD_ONES * 0x80);
}

#define PXD_SPAN(NAME, BAD, CLASS)                                                                  \
    static inline const uint8_t *NAME(const uint8_t *base, const uint8_t *p, const uint8_t *end) { \
        (void)base;                                                                                 \
        for (;;) {                                                                                  \
            while (end - p >= 8 && !BAD(pxd_load8(p)))                                              \
                p += 8;                                                                             \
            const uint8_t *stop = end - p >= 8 ? p + 8 : end;                                       \
            while (p < stop && (pxd_class[*p] & CLASS))                                             \
                p++;                                                                                \
            if (p < stop || p == end)                                                               \
                return p;                                                                           \
        }                                                                                           \
    }

#endif

/* The first byte of [p, end) outside the class, or `end`.  Bytes of [base, p) may be read, never used. */
PXD_SPAN(pxd_span_value, pxd_bad_value, PXD_VALUE)
PXD_SPAN(pxd_span_target, pxd_bad_target, PXD_TARGET)

/* Is p[0:n] the word `low` (lower-case letters, digits, '-') in any case?  With a literal it compiles to a few loads and compares.
 * p must hold no control bytes: setting bit 5 folds letters, and maps nothing but controls to a digit or '-'. */
static inline __attribute__((always_inline)) int pxd_word_is(const uint8_t *p, const char *low, size_t n) {
    const uint64_t fold = 0x2020202020202020ull;
    if (n >= 8) {
        uint64_t diff = (pxd_load8(p) | fold) ^ pxd_load8(low);
        if (n > 16)
            diff |= (pxd_load8(p + 8) | fold) ^ pxd_load8(low + 8);
        if (n > 8)
            diff |= (pxd_load8(p + n - 8) | fold) ^ pxd_load8(low + n - 8);
        return diff == 0;
    }
    for (size_t i = 0; i < n; i++)
        if ((p[i] | 0x20) != (uint8_t)low[i])
            return 0;
    return 1;
}

#endif
