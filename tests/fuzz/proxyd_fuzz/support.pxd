"""What the targets share: exactly sized copies, reproducible cut points, and the comparison of heads."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport Slice, slice_equals, slice_of
from proxyd_ext.http1.head cimport FIELD_OTHER, MAX_FIELDS, Head, HeadLimits


cdef enum:
    CUTS_MAX = 8

ctypedef int (*OneInput)(const uint8_t* data, size_t size) noexcept


ctypedef struct Cuts:
    size_t[CUTS_MAX + 1] at   # ascending; the last one is the size
    int count


cdef inline uint8_t* exact_copy(const uint8_t* data, size_t size) noexcept nogil:
    """A block of exactly `size` bytes, so that the sanitizer sees any byte read too far."""
    cdef uint8_t* block = <uint8_t*>malloc(size)
    INVARIANT(block != NULL or size == 0)
    if size:
        memcpy(block, data, size)
    return block


cdef inline uint64_t next_random(uint64_t* state) noexcept nogil:
    """Marsaglia's xorshift64: the same input is always cut at the same places."""
    state[0] ^= state[0] << 13
    state[0] ^= state[0] >> 7
    state[0] ^= state[0] << 17
    return state[0]


cdef inline void draw_cuts(Cuts* cuts, uint64_t seed, size_t size) noexcept nogil:
    """Up to CUTS_MAX places in 0..size, then the size itself."""
    cdef uint64_t state = seed * 2 + 1
    cdef int i, j
    cdef size_t at
    cuts.count = <int>(next_random(&state) % CUTS_MAX) + 1
    for i in range(cuts.count):
        at = next_random(&state) % (size + 1)
        j = i
        while j > 0 and cuts.at[j - 1] > at:
            cuts.at[j] = cuts.at[j - 1]
            j -= 1
        cuts.at[j] = at
    cuts.at[cuts.count] = size
    cuts.count += 1


cdef inline HeadLimits limits_of(uint8_t seed) noexcept nogil:
    """Mostly generous limits; small ones, so that refusing for size is reached with small inputs, for a quarter of the seeds."""
    cdef HeadLimits limits
    limits.head_size, limits.uri_length, limits.field_count = 1 << 20, 1 << 20, MAX_FIELDS
    if seed & 3 == 0:
        limits.head_size = 32 + seed
        limits.uri_length = 8 + (seed >> 4)
        limits.field_count = 1 + (seed >> 5)
    return limits


cdef inline void check_inside(const Head* head, Slice slice, bint may_be_constant) noexcept nogil:
    if slice.data == NULL:
        INVARIANT(slice.size == 0)
    elif not may_be_constant or slice.size > 1:   # "/" and "*" may stand outside
        INVARIANT(slice.data >= head.base and slice.data + slice.size <= head.base + head.size)


cdef inline void check_head(const Head* head, int rc, size_t size) noexcept nogil:
    """Sizes within bounds."""
    cdef uint32_t i
    INVARIANT(rc > 0 and <size_t>rc <= size and head.size == <uint32_t>rc)
    INVARIANT(head.field_count <= MAX_FIELDS and head.minor <= 1)
    for i in range(head.field_count):
        INVARIANT(head.fields[i].name_size > 0)
        INVARIANT(<size_t>head.fields[i].name + head.fields[i].name_size < head.size)
        INVARIANT(<size_t>head.fields[i].value + head.fields[i].value_size < head.size)


cdef inline void check_verdicts(int whole, int cut) noexcept nogil:
    """A head that is complete gets one verdict. One that is not may be refused sooner or later, as it comes (see head.pyx)."""
    INVARIANT(whole == cut or (whole <= 0 and cut <= 0 and (whole == 0 or cut == 0)))


cdef inline bint same_slice(Slice a, Slice b) noexcept nogil:
    return slice_equals(a, b) and (a.data == NULL) == (b.data == NULL)


cdef inline void check_same(const Head* a, const Head* b) noexcept nogil:
    """The two heads were read from the same bytes and say the same."""
    cdef uint32_t i
    INVARIANT(a.size == b.size and a.flags == b.flags and a.minor == b.minor and a.body == b.body)
    INVARIANT(a.content_length == b.content_length and a.has_content_length == b.has_content_length)
    INVARIANT(a.field_count == b.field_count)
    for i in range(a.field_count):
        INVARIANT(a.fields[i].name == b.fields[i].name and a.fields[i].name_size == b.fields[i].name_size)
        INVARIANT(a.fields[i].value_size == b.fields[i].value_size)
        INVARIANT(a.fields[i].value == b.fields[i].value or a.fields[i].value_size == 0)
        INVARIANT(a.fields[i].id == b.fields[i].id and a.fields[i].hop == b.fields[i].hop)
        # Repairs included; what they leave of the blanks around a value depends on how it came, and means nothing.
        INVARIANT(slice_equals(slice_of(a.base + a.fields[i].value, a.fields[i].value_size),
                               slice_of(b.base + b.fields[i].value, b.fields[i].value_size)))


cdef inline int next_plain(const Head* head, int i) noexcept nogil:
    """The first field from `i` on that nothing in proxyd edits, or field_count."""
    while i < head.field_count and (head.fields[i].id != FIELD_OTHER or head.fields[i].hop):
        i += 1
    return i


cdef inline void check_plain_fields(const Head* before, const Head* after) noexcept nogil:
    """Fields that mean nothing to a proxy arrive as they were, in their order, and no field of the connection does."""
    cdef int i = next_plain(before, 0)
    cdef int j = next_plain(after, 0)
    while i < before.field_count:
        INVARIANT(j < after.field_count)
        INVARIANT(slice_equals(
            slice_of(before.base + before.fields[i].name, before.fields[i].name_size),
            slice_of(after.base + after.fields[j].name, after.fields[j].name_size)))
        INVARIANT(slice_equals(
            slice_of(before.base + before.fields[i].value, before.fields[i].value_size),
            slice_of(after.base + after.fields[j].value, after.fields[j].value_size)))
        i = next_plain(before, i + 1)
        j = next_plain(after, j + 1)
    INVARIANT(j == after.field_count)
