"""Templates: text with placeholders, as the config writes them for rewritten paths and for Location.

The control plane cuts them into parts (snapshot/template.py); here values are put in.  Error pages are made of such parts too, and filled
in by conn/page, since their values are an exchange's.
"""
from libc.stdint cimport uint8_t
from proxyd_ext.core.slice cimport Slice


cdef enum:
    PART_TEXT = 0
    PART_SCHEME = 1
    PART_HOST = 2
    PART_PATH = 3
    PART_QUERY = 4            # with its '?'
    PART_REST = 5             # of the path, behind the prefix that is stripped
    PART_PARAMETER = 6        # of the query: the raw value of the first one with the name in `text`
    PART_STATUS = 7           # these five in error pages only, with PART_HOST
    PART_REASON = 8
    PART_MESSAGE = 9
    PART_REQUEST_ID = 10
    PARTS_MAX = 16            # of a path or a Location


ctypedef struct TemplatePart:
    int kind                  # PART_*
    Slice text                # PART_TEXT; the name of PART_PARAMETER


ctypedef struct Template:
    TemplatePart[PARTS_MAX] parts
    int count


ctypedef struct TemplateValues:
    Slice scheme
    Slice host                # without port
    Slice path                # normal form
    Slice query               # data NULL: none


ctypedef struct Rewrite:
    # What becomes of path and host on the way to a server.
    Slice strip               # prefix in normal form, without a '/' at its end; empty: none
    bint deep                 # the config wrote that '/': the bare prefix is not stripped
    Template path             # count 0: the rest
    Slice host                # empty: as the client sent it


# Bytes that `template_write` may need at most, and the writing: values as they are.  Returns the bytes written.
cdef size_t template_room(const Template* template, const TemplateValues* values) noexcept nogil
cdef size_t template_write(const Template* template, const TemplateValues* values, uint8_t* out) noexcept nogil

# The path that a server is sent, in normal form, into out[0:cap].  Values are percent-encoded where a path asks for it; where two parts
# would put two slashes beside one another there is one.  A path that `strip` is not a prefix of, and "*", stay as they are.
# Returns its size, -FAULT_URI_TOO_LONG when it does not fit, or -FAULT_PATH_INVALID: a parameter with a bad escape or %00, or one that
# makes a dot segment (the literal parts have none, so it is the client who tries to climb).
cdef int rewrite_path(const Rewrite* rewrite, const TemplateValues* values, uint8_t* out, size_t cap) noexcept nogil
