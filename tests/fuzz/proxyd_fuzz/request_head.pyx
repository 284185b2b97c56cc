"""Request heads: whole as cut anywhere, all within bounds, and what is forwarded is read again as the same request."""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport slice_empty, slice_equals, slice_of
from proxyd_ext.http1.head cimport (
    BODY_CLOSE, FIELD_CONNECTION, FIELD_TRANSFER_ENCODING, FIELD_UPGRADE, HEAD_UPGRADE_WEBSOCKET, MAX_FIELDS, TARGET_ASTERISK,
    TARGET_AUTHORITY, Head, HeadLimits, parse_request_head,
)
from proxyd_ext.http1.path cimport normalize_path
from proxyd_ext.http1.rewrite cimport RequestEdits, write_request_head
from proxyd_fuzz.support cimport (
    Cuts, check_head, check_inside, check_plain_fields, check_same, check_verdicts, draw_cuts, exact_copy, limits_of, same_slice,
)

cdef enum:
    ADDED_MAX = 1024   # what our own fields need at most, Host said twice included


cdef int parse(const uint8_t* data, size_t size, const HeadLimits* limits, Cuts* cuts, Head* head, uint8_t** block) noexcept nogil:
    """Parse as the bytes arrive; *block is what `head` points into."""
    cdef size_t scanned = 0
    cdef int i, rc = 0
    block[0] = NULL
    for i in range(cuts.count):
        free(block[0])
        block[0] = exact_copy(data, cuts.at[i])
        rc = parse_request_head(block[0], cuts.at[i], &scanned, limits, head)
        INVARIANT(scanned <= cuts.at[i])
        if rc != 0:
            break
    return rc


cdef void check_forwarded(const Head* head, bint trusted, bint small) noexcept nogil:
    cdef RequestEdits edits
    cdef HeadLimits limits
    cdef Head again
    cdef size_t scanned = 0, cap = head.size * 3 + ADDED_MAX
    cdef uint8_t* path = <uint8_t*>malloc(head.path.size * 3 + 1)
    cdef uint8_t* out
    cdef uint8_t* sent
    cdef uint16_t i
    cdef int size = <int>head.path.size
    limits.head_size, limits.uri_length, limits.field_count = 1 << 24, 1 << 24, MAX_FIELDS
    if head.target_form != TARGET_ASTERISK:
        size = normalize_path(head.path, path, head.path.size * 3)
    if size > 0:
        memset(&edits, 0, sizeof(edits))
        edits.path = slice_of(path, size) if head.target_form != TARGET_ASTERISK else head.path
        edits.query = head.query
        # HTTP/1.0 may come without a host; what is written for it then is an empty Host, which no client may send us.
        edits.host = slice_of(b"origin", 6) if head.host.data == NULL else slice_empty()
        edits.client_ip, edits.proto = slice_of(b"2001:db8::1", 11), slice_of(b"http", 4)
        edits.request_id, edits.via = slice_of(b"0123456789abcdef", 16), slice_of(b"proxyd", 6)
        edits.trusted, edits.upgrade = trusted, (head.flags & HEAD_UPGRADE_WEBSOCKET) != 0
        edits.body, edits.content_length = head.body, head.content_length
        cap = cap // 4 if small else cap
        out = <uint8_t*>malloc(cap)
        size = write_request_head(head, &edits, out, cap)
        INVARIANT(size <= <int>cap and (size > 0 or small))
        if size > 0:
            sent = exact_copy(out, size)
            INVARIANT(parse_request_head(sent, size, &scanned, &limits, &again) == size)
            INVARIANT(again.minor == 1 and slice_equals(again.method_text, head.method_text))
            INVARIANT(same_slice(again.path, edits.path) and same_slice(again.query, head.query))
            INVARIANT(again.target_form == (TARGET_ASTERISK if head.target_form == TARGET_ASTERISK else 0))
            INVARIANT(head.host.data == NULL or slice_equals(again.host, head.host))
            INVARIANT(again.body == head.body and again.content_length == head.content_length)
            for i in range(again.field_count):
                INVARIANT(not again.fields[i].hop or again.fields[i].id == FIELD_TRANSFER_ENCODING or (
                    edits.upgrade and (again.fields[i].id == FIELD_CONNECTION or again.fields[i].id == FIELD_UPGRADE)))
            check_plain_fields(head, &again)
            free(sent)
        free(out)
    free(path)


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
    rc = parse(data + 2, size - 2, &limits, &whole, &head, &block)
    check_verdicts(rc, parse(data + 2, size - 2, &limits, &cut, &again, &other))
    if rc > 0:
        check_head(&head, rc, size - 2)
        check_inside(&head, head.method_text, False)
        check_inside(&head, head.path, True)
        check_inside(&head, head.query, False)
        check_inside(&head, head.host, False)
        check_same(&head, &again)
        INVARIANT(same_slice(head.path, again.path) and same_slice(head.query, again.query) and same_slice(head.host, again.host))
        INVARIANT(head.body != BODY_CLOSE)
        free(other)
        # Without what stands behind it, the head is the same.
        whole.at[0] = rc
        INVARIANT(parse(data + 2, rc, &limits, &whole, &again, &other) == rc)
        check_same(&head, &again)
        if head.target_form != TARGET_AUTHORITY and head.field_count < MAX_FIELDS - 16:
            check_forwarded(&head, seed & 4, seed & 24 == 24)
    free(other)
    free(block)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
