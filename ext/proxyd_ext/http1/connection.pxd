"""What a head says about its connection: persistence, hop-by-hop fields, upgrades, expectations (RFC 9110 §7.6, §7.8, §10.1.1).

Part of head.pyx: it stands in a .pxd of its own only because one file would be too long, and is compiled into head alone.
"""
from libc.stdint cimport uint8_t, uint32_t
from proxyd_ext.core.fault cimport FAULT_EXPECTATION_FAILED
from proxyd_ext.core.slice cimport Slice, slice_equals_nocase, slice_of
from proxyd_ext.http1.head cimport (
    FIELD_CONNECTION, FIELD_CONTENT_LENGTH, FIELD_EXPECT, FIELD_HOST, FIELD_TRAILER, FIELD_UPGRADE, HEAD_CONNECTION_CLOSE,
    HEAD_CONNECTION_NAMES, HEAD_EXPECT_CONTINUE, HEAD_KEEP_ALIVE, HEAD_TRAILERS_ANNOUNCED, HEAD_UPGRADE_OTHER, HEAD_UPGRADE_WEBSOCKET,
    Field, Head, head_field,
)
from proxyd_ext.http1.names cimport field_value
from proxyd_ext.http1.scan cimport PXD_TOKEN, is_blank, pxd_class, word_is


cdef enum:
    CONNECTION_NAMES_MAX = 64    # fields named by Connection: marking them costs names x fields

    OPTION_CLOSE = 1
    OPTION_KEEP_ALIVE = 2
    OPTION_UPGRADE = 4
    OPTION_NAMES = 8             # names of fields
    OPTION_MALFORMED = 16        # an element that is no token
    OPTION_TOO_MANY = 32         # over CONNECTION_NAMES_MAX


cdef inline bint value_is(Slice value, const char* word, size_t n) noexcept nogil:
    """Is the value this lower-case word (letters, digits, '-') in any case?"""
    return value.size == n and word_is(value.data, word, n)


cdef inline int mark_named(Head* head, Slice name) noexcept nogil:
    """Fields named by Connection belong to the connection (RFC 9110 §7.6.1); framing and Host are always written anew, so they stay."""
    cdef uint32_t i
    cdef Field* field
    for i in range(head.field_count):
        field = &head.fields[i]
        if (field.name_size == name.size and field.id != FIELD_HOST and field.id != FIELD_CONTENT_LENGTH
                and slice_equals_nocase(slice_of(head.base + field.name, field.name_size), name)):
            field.hop = 1
    return 0


cdef inline int read_options(Head* head) noexcept nogil:
    """Read all Connection fields (RFC 9110 §7.6.1) and mark what they name.  Returns OPTION_* bits."""
    cdef uint32_t i, names = 0
    cdef int options = 0
    cdef const uint8_t* p
    cdef const uint8_t* end
    cdef const uint8_t* start
    cdef Slice value
    cdef size_t n
    for i in range(head.first[FIELD_CONNECTION] - 1, head.field_count):
        if head.fields[i].id != FIELD_CONNECTION:
            continue
        value = field_value(head, i)
        p = value.data
        end = p + value.size
        while p < end:
            if p[0] == c',' or is_blank(p[0]):
                p += 1
                continue
            start = p
            while p < end and pxd_class[p[0]] & PXD_TOKEN:
                p += 1
            n = p - start
            while p < end and is_blank(p[0]):
                p += 1
            if n == 0 or (p < end and p[0] != c','):
                options |= OPTION_MALFORMED
                while p < end and p[0] != c',':
                    p += 1
                continue
            if n == 5 and word_is(start, "close", 5):
                options |= OPTION_CLOSE
            elif n == 10 and word_is(start, "keep-alive", 10):
                options |= OPTION_KEEP_ALIVE
            elif n == 7 and word_is(start, "upgrade", 7):
                options |= OPTION_UPGRADE
            elif n != 2 or not word_is(start, "te", 2):
                options |= OPTION_NAMES
                names += 1
                if names > CONNECTION_NAMES_MAX:
                    return options | OPTION_TOO_MANY
                mark_named(head, slice_of(start, n))
    return options


cdef inline int read_connection(Head* out, bint may_upgrade) noexcept nogil:
    """Set the flags that come from version, Connection, Upgrade and Trailer.  Returns OPTION_* bits."""
    cdef int options = 0
    cdef uint32_t flags = 0
    if out.first[FIELD_CONNECTION]:
        options = read_options(out)
    if options & OPTION_CLOSE:
        flags |= HEAD_CONNECTION_CLOSE
    elif out.minor == 1 or options & OPTION_KEEP_ALIVE:
        flags |= HEAD_KEEP_ALIVE
    if options & OPTION_NAMES:
        flags |= HEAD_CONNECTION_NAMES
    if out.first[FIELD_TRAILER]:
        flags |= HEAD_TRAILERS_ANNOUNCED
    if out.first[FIELD_UPGRADE]:
        # An Upgrade in HTTP/1.0, or one that Connection does not name, counts for nothing (RFC 9110 §7.8).
        if (may_upgrade and out.minor == 1 and options & OPTION_UPGRADE
                and value_is(head_field(out, FIELD_UPGRADE), "websocket", 9)):
            flags |= HEAD_UPGRADE_WEBSOCKET
        else:
            flags |= HEAD_UPGRADE_OTHER
    out.flags = flags
    return options


cdef inline int read_expectation(Head* out) noexcept nogil:
    """Expect (RFC 9110 §10.1.1): 100-continue is the only one there is.  From HTTP/1.0 it is ignored, and not forwarded either."""
    cdef uint32_t i
    for i in range(out.first[FIELD_EXPECT] - 1, out.field_count):
        if out.fields[i].id != FIELD_EXPECT:
            continue
        if out.minor == 0:
            out.fields[i].hop = 1
        elif value_is(field_value(out, i), "100-continue", 12):
            out.flags |= HEAD_EXPECT_CONTINUE
        else:
            return -FAULT_EXPECTATION_FAILED
    return 0
