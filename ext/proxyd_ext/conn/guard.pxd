"""Small rules about request fields that need a look at names the parser does not know."""
from proxyd_ext.http1.head cimport Head


# Fields of strangers that would pass for ours behind an origin which takes '_' for '-' (CGI, WSGI, PHP), and `Proxy` (httpoxy): never
# forwarded.
cdef void drop_disguised(Head* head) noexcept nogil
# Max-Forwards of an OPTIONS request (RFC 9110 §7.6.2): True when it is 0 and the answer is ours; otherwise it is counted down in place.
cdef bint max_forwards_used_up(Head* head) noexcept nogil
