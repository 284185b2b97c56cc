"""Dictionaries of structured fields (RFC 8941 §3.2, with the dates and display strings of RFC 9651), one member after the other.

A part of control.pyx and compiled into it alone; it stands in a file of its own because it is another idea.
"""
from libc.stdint cimport int64_t, uint8_t
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.http1.scan cimport PXD_TOKEN, is_blank, pxd_class


cdef enum:
    ITEM_OTHER = 0       # decimal, token, byte sequence, date, display string, inner list
    ITEM_INTEGER = 1
    ITEM_STRING = 2
    ITEM_BOOLEAN = 3


ctypedef struct DictionaryMember:
    Slice key            # lower case
    int type             # ITEM_*
    int64_t number       # of an integer; 0 or 1 of a boolean


ctypedef struct Cursor:
    const uint8_t* at
    const uint8_t* end


cdef inline bint _is_digit(uint8_t c) noexcept nogil:
    return c'0' <= c <= c'9'


cdef inline bint _is_lower(uint8_t c) noexcept nogil:
    return c'a' <= c <= c'z'


cdef inline bint _is_alpha(uint8_t c) noexcept nogil:
    return _is_lower(c | 0x20)


cdef inline bint _read_key(Cursor* c, Slice* key) noexcept nogil:
    """key = ( lcalpha / "*" ) *( lcalpha / DIGIT / "_" / "-" / "." / "*" )."""
    cdef const uint8_t* start = c.at
    if c.at == c.end or not (_is_lower(c.at[0]) or c.at[0] == c'*'):
        return False
    while c.at < c.end and (_is_lower(c.at[0]) or _is_digit(c.at[0]) or c.at[0] == c'_' or c.at[0] == c'-' or c.at[0] == c'.'
                            or c.at[0] == c'*'):
        c.at += 1
    key[0] = slice_of(start, c.at - start)
    return True


cdef inline bint _read_number(Cursor* c, int* type, int64_t* number) noexcept nogil:
    """An integer of at most 15 digits, or a decimal of at most 12 and 3 (RFC 8941 §4.2.4)."""
    cdef const uint8_t* start
    cdef const uint8_t* point
    cdef bint negative = c.at[0] == c'-'
    cdef int64_t value = 0
    if negative:
        c.at += 1
    start = c.at
    while c.at < c.end and _is_digit(c.at[0]):
        if c.at - start == 15:
            return False
        value = value * 10 + c.at[0] - c'0'
        c.at += 1
    if c.at == start:
        return False
    if c.at < c.end and c.at[0] == c'.':
        point = c.at
        if point - start > 12:
            return False
        c.at += 1
        while c.at < c.end and _is_digit(c.at[0]):
            c.at += 1
        type[0] = ITEM_OTHER
        return 1 <= c.at - point - 1 <= 3
    type[0] = ITEM_INTEGER
    number[0] = -value if negative else value
    return True


cdef inline bint _read_string(Cursor* c) noexcept nogil:
    """A string (§4.2.5): visible ASCII and spaces between quotes, '\\' only before '"' and itself."""
    cdef uint8_t byte
    c.at += 1
    while c.at < c.end:
        byte = c.at[0]
        c.at += 1
        if byte == c'"':
            return True
        if byte == c'\\':
            if c.at == c.end or not (c.at[0] == c'"' or c.at[0] == c'\\'):
                return False
            c.at += 1
        elif byte < 0x20 or byte > 0x7e:
            return False
    return False


cdef inline bint _read_bytes(Cursor* c) noexcept nogil:
    """A byte sequence (§4.2.7): base64 between colons.  What it holds is of no interest, nor its padding."""
    c.at += 1
    while c.at < c.end and (_is_alpha(c.at[0]) or _is_digit(c.at[0]) or c.at[0] == c'+' or c.at[0] == c'/' or c.at[0] == c'='):
        c.at += 1
    if c.at == c.end or c.at[0] != c':':
        return False
    c.at += 1
    return True


cdef inline bint _read_display(Cursor* c) noexcept nogil:
    """A display string (RFC 9651 §4.2.10): %"..." with lower-case escapes; that they are UTF-8 is not checked, nothing reads them."""
    cdef uint8_t byte
    cdef int _i
    c.at += 1
    if c.at == c.end or c.at[0] != c'"':
        return False
    c.at += 1
    while c.at < c.end:
        byte = c.at[0]
        c.at += 1
        if byte == c'"':
            return True
        if byte < 0x20 or byte > 0x7e:
            return False
        if byte == c'%':
            for _i in range(2):
                if c.at == c.end or not (_is_digit(c.at[0]) or c'a' <= c.at[0] <= c'f'):
                    return False
                c.at += 1
    return False


cdef inline bint _read_bare(Cursor* c, int* type, int64_t* number) noexcept nogil:
    """A bare item (RFC 8941 §4.2.3.1)."""
    cdef uint8_t first
    type[0] = ITEM_OTHER
    if c.at == c.end:
        return False
    first = c.at[0]
    if first == c'-' or _is_digit(first):
        return _read_number(c, type, number)
    elif first == c'"':
        type[0] = ITEM_STRING
        return _read_string(c)
    elif first == c'*' or _is_alpha(first):
        while c.at < c.end and (pxd_class[c.at[0]] & PXD_TOKEN or c.at[0] == c':' or c.at[0] == c'/'):
            c.at += 1
        return True
    elif first == c':':
        return _read_bytes(c)
    elif first == c'?':
        if c.end - c.at < 2 or not (c.at[1] == c'0' or c.at[1] == c'1'):
            return False
        type[0] = ITEM_BOOLEAN
        number[0] = c.at[1] - c'0'
        c.at += 2
        return True
    elif first == c'@':
        c.at += 1
        if c.at == c.end or not (c.at[0] == c'-' or _is_digit(c.at[0])) or not _read_number(c, type, number):
            return False
        if type[0] != ITEM_INTEGER:
            return False
        type[0] = ITEM_OTHER
        return True
    elif first == c'%':
        return _read_display(c)
    return False


cdef inline bint _read_parameters(Cursor* c) noexcept nogil:
    """Parameters (§4.2.3.2); they are not looked at (RFC 9213 §2.1)."""
    cdef Slice key
    cdef int type
    cdef int64_t number
    while c.at < c.end and c.at[0] == c';':
        c.at += 1
        while c.at < c.end and c.at[0] == c' ':
            c.at += 1
        if not _read_key(c, &key):
            return False
        if c.at < c.end and c.at[0] == c'=':
            c.at += 1
            if not _read_bare(c, &type, &number):
                return False
    return True


cdef inline bint _read_inner_list(Cursor* c) noexcept nogil:
    """An inner list (§4.2.1.2): items between parentheses, with spaces between them."""
    cdef int type
    cdef int64_t number
    c.at += 1
    while c.at < c.end:
        while c.at < c.end and c.at[0] == c' ':
            c.at += 1
        if c.at == c.end:
            return False
        if c.at[0] == c')':
            c.at += 1
            return True
        if not _read_bare(c, &type, &number) or not _read_parameters(c):
            return False
        if c.at == c.end or not (c.at[0] == c' ' or c.at[0] == c')'):
            return False
    return False


cdef inline bint _read_member(Cursor* c, DictionaryMember* out) noexcept nogil:
    """member-name [ "=" member-value ] or parameters (§4.2.2): a member without value is true."""
    if not _read_key(c, &out.key):
        return False
    out.type = ITEM_BOOLEAN
    out.number = 1
    if c.at < c.end and c.at[0] == c'=':
        c.at += 1
        if c.at < c.end and c.at[0] == c'(':
            out.type = ITEM_OTHER
            if not _read_inner_list(c):
                return False
        elif not _read_bare(c, &out.type, &out.number):
            return False
    return _read_parameters(c)


cdef inline int dictionary_next(Slice line, size_t* at, DictionaryMember* out) noexcept nogil:
    """Read the member at *at of one field line (start with 0) and move *at behind it and its comma.

    Returns 1, 0 at the end, or -1: the line is no dictionary.  A member is never spread over lines: RFC 8941 §4.2 lets such fail.
    """
    cdef Cursor c
    c.at = line.data + at[0]
    c.end = line.data + line.size
    if at[0] == 0:
        while c.at < c.end and c.at[0] == c' ':
            c.at += 1
    if c.at == c.end:
        return 0
    if not _read_member(&c, out):
        return -1
    while c.at < c.end and is_blank(c.at[0]):
        c.at += 1
    if c.at < c.end:
        if c.at[0] != c',':
            return -1
        c.at += 1
        while c.at < c.end and is_blank(c.at[0]):
            c.at += 1
        if c.at == c.end:
            return -1   # a comma with nothing behind it
    at[0] = c.at - line.data
    return 1
