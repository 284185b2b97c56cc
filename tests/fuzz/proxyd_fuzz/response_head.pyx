"""Response heads, which are repaired in place: whole as cut anywhere, within bounds, and what goes to the client reads the same."""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.http1.head cimport (
    BODY_LENGTH, BODY_NONE, FIELD_CONNECTION, FIELD_TRANSFER_ENCODING, FIELD_UPGRADE, HEAD_UPGRADE_WEBSOCKET, MAX_FIELDS, Head,
    HeadLimits, parse_response_head,
)
from proxyd_ext.http1.rewrite cimport ResponseEdits, write_response_head
from proxyd_fuzz.support cimport (
    Cuts, check_head, check_inside, check_plain_fields, check_same, check_verdicts, draw_cuts, exact_copy, limits_of, same_slice,
)

cdef enum:
    ADDED_MAX = 512


cdef int parse(const uint8_t* data, const HeadLimits* limits, Cuts* cuts, Head* head, uint8_t** block) noexcept nogil:
    """Parse as the bytes arrive, keeping the repairs made so far; *block is what `head` points into."""
    cdef size_t scanned = 0, before = 0
    cdef uint8_t* grown
    cdef int i, rc = 0
    block[0] = NULL
    for i in range(cuts.count):
        grown = exact_copy(data, cuts.at[i])
        if before:
            memcpy(grown, block[0], before)
        free(block[0])
        block[0] = grown
        before = cuts.at[i]
        rc = parse_response_head(grown, before, &scanned, limits, head)
        INVARIANT(scanned <= before)
        if rc != 0:
            break
    return rc


cdef void check_forwarded(const Head* head, uint8_t seed) noexcept nogil:
    cdef ResponseEdits edits
    cdef HeadLimits limits
    cdef Head again
    cdef size_t scanned = 0, cap = head.size + ADDED_MAX
    cdef uint8_t* out
    cdef uint8_t* sent
    cdef uint16_t i
    cdef int size
    cdef bint small = seed & 96 == 96
    limits.head_size, limits.uri_length, limits.field_count = 1 << 24, 0, MAX_FIELDS
    memset(&edits, 0, sizeof(edits))
    edits.date = slice_of(b"Thu, 01 Jan 1970 00:00:00 GMT", 29)
    edits.close, edits.keep_alive = (seed & 4) != 0, (seed & 12) == 8
    edits.upgrade = head.status == 101 and (head.flags & HEAD_UPGRADE_WEBSOCKET) != 0
    edits.body, edits.has_content_length, edits.content_length = head.body, head.has_content_length, head.content_length
    if edits.upgrade:
        edits.close = edits.keep_alive = False
    cap = cap // 4 if small else cap
    out = <uint8_t*>malloc(cap)
    size = write_response_head(head, &edits, out, cap)
    INVARIANT(size <= <int>cap and (size > 0 or small))
    if size > 0:
        sent = exact_copy(out, size)
        INVARIANT(parse_response_head(sent, size, &scanned, &limits, &again) == size)
        INVARIANT(memcmp(sent, out, size) == 0)   # nothing of what we write needs a repair
        INVARIANT(again.minor == 1 and again.status == head.status and again.body == head.body)
        if head.body == BODY_LENGTH:
            INVARIANT(again.content_length == head.content_length)
        for i in range(again.field_count):
            INVARIANT(not again.fields[i].hop or again.fields[i].id == FIELD_TRANSFER_ENCODING
                      or again.fields[i].id == FIELD_CONNECTION or (edits.upgrade and again.fields[i].id == FIELD_UPGRADE))
        check_plain_fields(head, &again)
        free(sent)
    free(out)


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef HeadLimits limits
    cdef Head head, again
    cdef Cuts whole, cut
    cdef uint8_t* block
    cdef uint8_t* other
    cdef uint8_t seed
    cdef int rc
    if size < 2:
        return 0
    seed = data[0]
    limits = limits_of(seed)
    draw_cuts(&cut, seed * 256 + data[1], size - 2)
    whole.at[0], whole.count = size - 2, 1
    rc = parse(data + 2, &limits, &whole, &head, &block)
    check_verdicts(rc, parse(data + 2, &limits, &cut, &again, &other))
    if rc > 0:
        check_head(&head, rc, size - 2)
        check_inside(&head, head.reason, False)
        INVARIANT(100 <= head.status <= 999)
        INVARIANT(head.status >= 200 or head.body == BODY_NONE)
        check_same(&head, &again)
        INVARIANT(head.status == again.status and same_slice(head.reason, again.reason))
        INVARIANT(memcmp(block + rc, data + 2 + rc, size - 2 - rc) == 0)   # repairs touch nothing behind the head
        free(other)
        whole.at[0] = rc
        INVARIANT(parse(data + 2, &limits, &whole, &again, &other) == rc)
        check_same(&head, &again)
        if head.field_count < MAX_FIELDS - 16:
            check_forwarded(&head, seed)
    free(other)
    free(block)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
