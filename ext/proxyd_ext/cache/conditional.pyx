"""Conditional requests (see conditional.pxd)."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free
from proxyd_ext.cache.dates cimport head_date, parse_http_date
from proxyd_ext.cache.probe cimport OwnHead, own_head
from proxyd_ext.core.slice cimport Slice, slice_equals, slice_of
from proxyd_ext.http1.head cimport (
    FIELD_DATE, FIELD_ETAG, FIELD_IF_MATCH, FIELD_IF_MODIFIED_SINCE, FIELD_IF_NONE_MATCH, FIELD_IF_RANGE, FIELD_IF_UNMODIFIED_SINCE,
    FIELD_LAST_MODIFIED, METHOD_GET, METHOD_HEAD, Head, head_field,
)
from proxyd_ext.http1.names cimport field_value
from proxyd_ext.http1.scan cimport is_blank


cdef enum:
    TAGS_DIFFER = 0
    TAGS_MATCH = 1
    TAGS_MALFORMED = 2

    STRONG_AFTER_S = 60      # Last-Modified this long before Date: clocks cannot have made it (RFC 9110 §8.8.2.2)


# ---- entity-tags

cdef inline size_t _tag_size(const uint8_t* p, const uint8_t* end) noexcept nogil:
    """The size of the entity-tag at p, [ "W/" ] DQUOTE *etagc DQUOTE (§8.8.3); 0: none."""
    cdef const uint8_t* start = p
    if end - p >= 2 and p[0] == c'W' and p[1] == c'/':
        p += 2
    if p == end or p[0] != c'"':
        return 0
    p += 1
    while p < end and p[0] != c'"':
        if p[0] < 0x21 or p[0] == 0x7f:
            return 0
        p += 1
    return 0 if p == end else p + 1 - start


cdef bint etags_equal(Slice a, Slice b, bint strong) noexcept nogil:
    cdef bint weak_a, weak_b
    if a.size == 0 or b.size == 0 or _tag_size(a.data, a.data + a.size) != a.size or _tag_size(b.data, b.data + b.size) != b.size:
        return False
    weak_a = a.data[0] == c'W'
    weak_b = b.data[0] == c'W'
    if strong and (weak_a or weak_b):
        return False
    return slice_equals(slice_of(a.data + 2 * weak_a, a.size - 2 * weak_a), slice_of(b.data + 2 * weak_b, b.size - 2 * weak_b))


cdef int _match_line(Slice line, Slice etag, bint strong) noexcept nogil:
    """Look for an entity-tag in one line of #entity-tag.  All of the line has to be well-formed."""
    cdef const uint8_t* p = line.data
    cdef const uint8_t* end = line.data + line.size
    cdef size_t n
    cdef int found = TAGS_DIFFER
    while p < end:
        if p[0] == c',' or is_blank(p[0]):
            p += 1
            continue
        n = _tag_size(p, end)
        if n == 0:
            return TAGS_MALFORMED
        if etags_equal(slice_of(p, n), etag, strong):
            found = TAGS_MATCH
        p += n
        while p < end and is_blank(p[0]):
            p += 1
        if p < end and p[0] != c',':
            return TAGS_MALFORMED
    return found


cdef int _match_tags(const Head* request, int field_id, Slice etag, bint strong) noexcept nogil:
    """Does the stored entity-tag stand in these fields?  "*" matches any answer, also one without."""
    cdef Slice value = head_field(request, field_id)
    cdef int found = TAGS_DIFFER, one
    cdef uint32_t i, lines = 0
    for i in range(<uint32_t>request.first[field_id] - 1, request.field_count):
        if request.fields[i].id == field_id:
            lines += 1
    if lines == 1 and value.size == 1 and value.data[0] == c'*':
        return TAGS_MATCH
    for i in range(<uint32_t>request.first[field_id] - 1, request.field_count):
        if request.fields[i].id != field_id:
            continue
        one = _match_line(field_value(request, i), etag, strong)
        if one == TAGS_MALFORMED:
            return TAGS_MALFORMED
        found |= one
    return found


# ---- conditions

cdef int64_t _only_date(const Head* request, int field_id, int64_t now_s) noexcept nogil:
    """The date of a field that comes once; -1: no date, or several, which make none (§13.1.3)."""
    cdef uint32_t i
    for i in range(request.first[field_id], request.field_count):
        if request.fields[i].id == field_id:
            return -1
    return head_date(request, field_id, now_s)


cdef bint _judge_match(const Head* request, const Validators* stored, int64_t now_s) noexcept nogil:
    """Steps 1 and 2 of §13.2.2: does what the request knows still stand?"""
    cdef int64_t since
    if request.first[FIELD_IF_MATCH]:
        return _match_tags(request, FIELD_IF_MATCH, stored.etag, True) == TAGS_MATCH
    since = _only_date(request, FIELD_IF_UNMODIFIED_SINCE, now_s)
    return since < 0 or stored.last_modified_s < 0 or stored.last_modified_s <= since


cdef int evaluate_conditions(const Head* request, const Validators* stored, bint origin, int64_t now_s) noexcept nogil:
    cdef bint reads = request.method == METHOD_GET or request.method == METHOD_HEAD
    cdef int64_t since, modified
    if request.first[FIELD_IF_MATCH] or request.first[FIELD_IF_UNMODIFIED_SINCE]:
        if not origin:
            return COND_ORIGIN
        if not _judge_match(request, stored, now_s):
            return COND_FAILED
    if request.first[FIELD_IF_NONE_MATCH]:
        if _match_tags(request, FIELD_IF_NONE_MATCH, stored.etag, False) != TAGS_MATCH:
            return COND_NONE
        return COND_NOT_MODIFIED if reads else COND_FAILED
    if request.first[FIELD_IF_MODIFIED_SINCE] and reads:
        since = _only_date(request, FIELD_IF_MODIFIED_SINCE, now_s)
        # RFC 9111 §4.3.2: without Last-Modified, by Date, or when it was received.
        modified = stored.last_modified_s if stored.last_modified_s >= 0 else stored.date_s
        if since >= 0 and modified <= since:
            return COND_NOT_MODIFIED
    return COND_NONE


cdef bint if_range_matches(const Head* request, const Validators* stored, int64_t now_s) noexcept nogil:
    cdef Slice value = head_field(request, FIELD_IF_RANGE)
    cdef int64_t at
    if request.first[FIELD_IF_RANGE] == 0:
        return True
    if value.size and (value.data[0] == c'"' or value.data[0] == c'W' and value.size > 1 and value.data[1] == c'/'):
        return etags_equal(value, stored.etag, True)
    at = parse_http_date(value, now_s)
    return at >= 0 and at == stored.last_modified_s and stored.date_s - stored.last_modified_s >= STRONG_AFTER_S


cdef bint freshens(const Validators* stored, const Head* not_modified, int64_t now_s) noexcept nogil:
    cdef Slice etag = head_field(not_modified, FIELD_ETAG)
    cdef int64_t modified
    if etag.size:
        # A strong one has to be the same, strongly; a weak one is compared weakly.
        return etags_equal(etag, stored.etag, etag.data[0] != c'W')
    modified = head_date(not_modified, FIELD_LAST_MODIFIED, now_s)
    return modified < 0 or modified == stored.last_modified_s


cdef void read_validators(const Head* answer, int64_t received_s, Validators* out) noexcept nogil:
    out.etag = head_field(answer, FIELD_ETAG)
    out.last_modified_s = head_date(answer, FIELD_LAST_MODIFIED, received_s)
    out.date_s = head_date(answer, FIELD_DATE, received_s)
    if out.date_s < 0:
        out.date_s = received_s


# ---- for tests and tools

def judge_conditions(bytes request not None, bytes answer not None, int64_t now_s, *, bint origin=False) -> str:
    """evaluate_conditions against an answer received at now_s."""
    cdef Validators stored
    cdef int verdict
    cdef OwnHead* kept = own_head(answer, True)
    cdef OwnHead* asked = NULL
    try:
        asked = own_head(request, False)
        with nogil:
            read_validators(&kept.head, now_s, &stored)
            verdict = evaluate_conditions(&asked.head, &stored, origin, now_s)
    finally:
        free(asked)
        free(kept)
    return ("whole", "304", "412", "origin")[verdict]


def range_counts(bytes request not None, bytes answer not None, int64_t now_s) -> bool:
    """if_range_matches against an answer received at now_s."""
    cdef Validators stored
    cdef bint counts
    cdef OwnHead* kept = own_head(answer, True)
    cdef OwnHead* asked = NULL
    try:
        asked = own_head(request, False)
        read_validators(&kept.head, now_s, &stored)
        counts = if_range_matches(&asked.head, &stored, now_s)
    finally:
        free(asked)
        free(kept)
    return counts


def may_freshen(bytes stored not None, bytes not_modified not None, int64_t now_s) -> bool:
    """May this 304 freshen that stored answer?"""
    cdef Validators validators
    cdef bint may
    cdef OwnHead* kept = own_head(stored, True)
    cdef OwnHead* came = NULL
    try:
        came = own_head(not_modified, True)
        read_validators(&kept.head, now_s, &validators)
        may = freshens(&validators, &came.head, now_s)
    finally:
        free(came)
        free(kept)
    return may
