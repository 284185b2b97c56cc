"""The key under which an answer is stored: zone, zero byte, then the parts that the route names, those of the URL first.

Two requests with one key get one answer, so parts are written with their lengths: none can pass for another.
"""
from libc.stdint cimport uint8_t
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


cdef enum:
    KEY_SCHEME = 0
    KEY_AUTHORITY = 1
    KEY_PATH = 2
    KEY_QUERY = 3             # the whole of it, as it came
    KEY_PARAMETERS = 4        # the values of some parameters, in the order of the config
    KEY_FIELD = 5
    KEY_COOKIE = 6


ctypedef struct KeyPart:
    int kind                  # KEY_*
    Slice* names              # of parameters; the field (lower case); the cookie
    int name_count


ctypedef struct KeyRecipe:
    KeyPart* parts            # those of the URL first
    int count
    int url_count             # parts that the URL alone tells
    bint plain                # scheme, authority, path, whole query: the key is the URL


ctypedef struct Url:
    Slice scheme
    Slice authority           # lower case, without a default port
    Slice path                # normal form
    Slice query               # data NULL: none


# The key; of `head` NULL only what the URL tells.  Its size, or -1: longer than cap.
cdef int key_write(const KeyRecipe* recipe, Slice zone, const Url* url, const Head* head, uint8_t* out, size_t cap) noexcept nogil
# scheme://authority/path?query; its size, or -1.
cdef int url_write(const Url* url, uint8_t* out, size_t cap) noexcept nogil
# Take a URL apart as it was written by url_write, or by people: host in any case, a default port, no path.  False: no URL with a scheme.
# `scratch` (at least text.size + 1 bytes) takes what has to be changed.
cdef bint url_read(Slice text, Url* out, uint8_t* scratch) noexcept nogil
# An authority in lower case without the port that its scheme has anyway; its size (<= authority.size).
cdef size_t authority_write(Slice scheme, Slice authority, uint8_t* out) noexcept nogil
