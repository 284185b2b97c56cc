"""Rules about single request fields (see guard.pxd)."""
from libc.stdint cimport uint8_t
from proxyd_ext.core.slice cimport ascii_lower, slice_equals_nocase, slice_of
from proxyd_ext.http1.head cimport (
    FIELD_OTHER, FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_HOST, FIELD_X_FORWARDED_PROTO, FIELD_X_REAL_IP, FIELD_X_REQUEST_ID, Field,
)
from proxyd_ext.http1.names cimport field_id

cdef enum:
    LONGEST = 17              # bytes of "x-forwarded-proto", the longest name that is ours


cdef void drop_disguised(Head* head) noexcept nogil:
    cdef uint8_t[32] plain    # LONGEST and room for whole words
    cdef const uint8_t* name
    cdef Field* field
    cdef int i, k, id
    for i in range(head.field_count):
        field = &head.fields[i]
        if field.id != FIELD_OTHER or field.name_size > LONGEST:
            continue
        name = head.base + field.name
        if field.name_size == 5 and slice_equals_nocase(slice_of(name, 5), slice_of(<const uint8_t*>b"proxy", 5)):
            field.hop = 1
        elif ascii_lower(name[0]) == c'x':
            for k in range(field.name_size):
                plain[k] = c'-' if name[k] == c'_' else name[k]
            id = field_id(plain, field.name_size)
            if (id == FIELD_X_FORWARDED_FOR or id == FIELD_X_FORWARDED_PROTO or id == FIELD_X_FORWARDED_HOST or id == FIELD_X_REQUEST_ID
                    or id == FIELD_X_REAL_IP):
                field.hop = 1


cdef bint max_forwards_used_up(Head* head) noexcept nogil:
    cdef uint8_t* digits
    cdef int i, k
    for i in range(head.field_count):
        if not slice_equals_nocase(slice_of(head.base + head.fields[i].name, head.fields[i].name_size),
                                   slice_of(<const uint8_t*>b"max-forwards", 12)):
            continue
        digits = <uint8_t*>head.base + head.fields[i].value
        for k in range(<int>head.fields[i].value_size):
            if not c'0' <= digits[k] <= c'9':
                return False  # not a number: the field means nothing
        k = <int>head.fields[i].value_size - 1
        while k >= 0 and digits[k] == c'0':
            k -= 1
        if k < 0:
            return head.fields[i].value_size > 0
        digits[k] -= 1        # leading zeros are fine, so the field keeps its size
        for k in range(k + 1, <int>head.fields[i].value_size):
            digits[k] = c'9'
        return False
    return False
