"""The one normal form of a path (design.md §5; RFC 3986 §6.2.2, §5.2.4). Routes, policies, keys and the forwarded path all use it."""
from libc.stdint cimport uint8_t
from proxyd_ext.core.slice cimport Slice


# Write the normal form of the raw `path` to out[0:cap]: unreserved escapes decoded, other escapes upper-cased and kept (so %2F stays
# distinct from '/'), bytes that RFC 3986 allows nowhere in a path (| ^ { } " < > ` \) escaped, dot segments removed.  Empty segments are
# kept.  Dots that some servers take for dot segments although RFC 3986 does not, beside an escaped slash or backslash or before path
# parameters ("..%2F", "%5C..", "..;x"), are refused: what is open to all must not lead such a server into what is not.
# Returns its size in bytes, or -FAULT_PATH_INVALID: bad escape, %00, a byte >= 0x80 or control, dot segments above the root, or hidden
# ones.
# cap must be at least 3 * path.size.
cdef int normalize_path(Slice path, uint8_t* out, size_t cap) noexcept nogil

# Routes are matched with runs of slashes taken as one, as nginx matches its locations: most servers do so, too, and "//admin" must not go
# round what guards "/admin".  The path itself keeps them.  Returns `path` where it has none, else its merged form in `out` (of path.size).
cdef Slice merge_slashes(Slice path, uint8_t* out) noexcept nogil

# True when the path is its own normal form: the usual case, which then costs one scan and no copy.
cdef bint path_is_normal(Slice path) noexcept nogil
