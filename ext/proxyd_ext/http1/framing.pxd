"""How long is the body? Content-Length and Transfer-Encoding taken together (RFC 9112 §6).

Part of head.pyx: it stands in a .pxd of its own only because one file would be too long, and is compiled into head alone.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from proxyd_ext.core.fault cimport FAULT_FRAMING_AMBIGUOUS, FAULT_TRANSFER_CODING_UNKNOWN, FAULT_UPSTREAM_FRAMING
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport (
    BODY_CHUNKED, BODY_CLOSE, BODY_LENGTH, BODY_NONE, FIELD_CONTENT_LENGTH, FIELD_TRANSFER_ENCODING, Head, head_field,
)
from proxyd_ext.http1.names cimport field_bit, field_value
from proxyd_ext.http1.scan cimport PXD_TOKEN, is_blank, pxd_class, word_is


cdef enum:
    LENGTH_MAX_TENTH = 922337203685477580  # INT64_MAX / 10: Content-Length is at most INT64_MAX, so that sums of sizes cannot wrap

    CODING_NONE = 0              # no Transfer-Encoding
    CODING_CHUNKED = 1           # chunked alone
    CODING_UNKNOWN = 2           # codings, none of them chunked
    CODING_UNKNOWN_CHUNKED = 3   # unknown codings, then chunked
    CODING_AMBIGUOUS = 4         # chunked not last or not once, or not the grammar of codings


cdef inline int add_coding(int coding, Slice value) noexcept nogil:
    """Go on from CODING_* `coding` over one more Transfer-Encoding value (RFC 9112 §6.1).

    Strict: no empty list element, chunked without parameters, no quoted string (whose commas a careless reader counts).
    """
    cdef const uint8_t* p = value.data
    cdef const uint8_t* end = p + value.size
    cdef const uint8_t* start
    cdef bint chunked
    while True:
        while p < end and is_blank(p[0]):
            p += 1
        start = p
        while p < end and pxd_class[p[0]] & PXD_TOKEN:
            p += 1
        if p == start:
            return CODING_AMBIGUOUS
        chunked = p - start == 7 and word_is(start, "chunked", 7)
        while p < end and p[0] != c',':
            if not is_blank(p[0]) and (chunked or not (p[0] == c';' or p[0] == c'=' or pxd_class[p[0]] & PXD_TOKEN)):
                return CODING_AMBIGUOUS
            p += 1
        if coding == CODING_NONE:
            coding = CODING_CHUNKED if chunked else CODING_UNKNOWN
        elif coding == CODING_UNKNOWN:
            coding = CODING_UNKNOWN_CHUNKED if chunked else CODING_UNKNOWN
        else:
            return CODING_AMBIGUOUS
        if p == end:
            return coding
        p += 1


cdef inline int read_coding(const Head* head) noexcept nogil:
    """CODING_* of all Transfer-Encoding fields taken as one list."""
    cdef uint32_t i
    cdef int coding = CODING_NONE
    for i in range(head.first[FIELD_TRANSFER_ENCODING] - 1, head.field_count):
        if head.fields[i].id == FIELD_TRANSFER_ENCODING and coding != CODING_AMBIGUOUS:
            coding = add_coding(coding, field_value(head, i))
    return coding


cdef inline bint read_digits(const uint8_t** at, const uint8_t* end, uint64_t* number) noexcept nogil:
    """Read 1*DIGIT at *at and move *at behind it; false if there is none or the number is over INT64_MAX."""
    cdef const uint8_t* p = at[0]
    cdef uint64_t n = 0
    if p == end or not c'0' <= p[0] <= c'9':
        return False
    while p < end and c'0' <= p[0] <= c'9':
        if n > LENGTH_MAX_TENTH or (n == LENGTH_MAX_TENTH and p[0] > c'7'):
            return False
        n = n * 10 + (p[0] - c'0')
        p += 1
    at[0] = p
    number[0] = n
    return True


cdef inline bint read_length(Slice value, uint64_t* number) noexcept nogil:
    """Content-Length as one number and nothing else (RFC 9110 §8.6)."""
    cdef const uint8_t* p = value.data
    return read_digits(&p, value.data + value.size, number) and p == value.data + value.size


cdef inline bint read_lengths(const Head* head, uint64_t* number) noexcept nogil:
    """All Content-Length values of a response: repeats and lists of one and the same number count as that number (RFC 9110 §8.6)."""
    cdef uint32_t i
    cdef uint64_t n = 0
    cdef bint any = False
    cdef const uint8_t* p
    cdef const uint8_t* end
    cdef Slice value
    for i in range(head.first[FIELD_CONTENT_LENGTH] - 1, head.field_count):
        if head.fields[i].id != FIELD_CONTENT_LENGTH:
            continue
        value = field_value(head, i)
        p = value.data
        end = p + value.size
        while True:
            while p < end and is_blank(p[0]):
                p += 1
            if not read_digits(&p, end, &n) or (any and n != number[0]):
                return False
            number[0] = n
            any = True
            while p < end and is_blank(p[0]):
                p += 1
            if p == end:
                break
            if p[0] != c',':
                return False
            p += 1
    return True


cdef inline int read_request_framing(Head* out, uint64_t repeated) noexcept nogil:
    """How long is the body (RFC 9112 §6.3)?  Returns 0 or -FAULT_*: what two readers could read in two ways is refused."""
    cdef int coding
    out.body = BODY_NONE
    out.content_length = 0
    out.has_content_length = False
    if out.first[FIELD_TRANSFER_ENCODING]:
        coding = read_coding(out)
        if out.first[FIELD_CONTENT_LENGTH] or out.minor == 0 or coding == CODING_UNKNOWN or coding == CODING_AMBIGUOUS:
            return -FAULT_FRAMING_AMBIGUOUS
        if coding == CODING_UNKNOWN_CHUNKED:
            return -FAULT_TRANSFER_CODING_UNKNOWN
        out.body = BODY_CHUNKED
    elif out.first[FIELD_CONTENT_LENGTH]:
        if repeated & field_bit(FIELD_CONTENT_LENGTH) or not read_length(head_field(out, FIELD_CONTENT_LENGTH), &out.content_length):
            return -FAULT_FRAMING_AMBIGUOUS
        out.body = BODY_LENGTH
        out.has_content_length = True
    return 0


cdef inline int read_response_framing(Head* out) noexcept nogil:
    """The same for a response, without regard to the request's method.  Returns 0 or -FAULT_UPSTREAM_FRAMING.

    Only chunked alone is taken: we never say TE, so any other coding would be forwarded as if it were the content.
    """
    out.body = BODY_CLOSE
    out.content_length = 0
    out.has_content_length = False
    if out.first[FIELD_TRANSFER_ENCODING]:
        if out.first[FIELD_CONTENT_LENGTH] or out.minor == 0 or read_coding(out) != CODING_CHUNKED:
            return -FAULT_UPSTREAM_FRAMING
        out.body = BODY_CHUNKED
    elif out.first[FIELD_CONTENT_LENGTH]:
        if not read_lengths(out, &out.content_length):
            return -FAULT_UPSTREAM_FRAMING
        out.body = BODY_LENGTH
        out.has_content_length = True
    if out.status < 200 or out.status == 204 or out.status == 304:
        out.body = BODY_NONE
    return 0
