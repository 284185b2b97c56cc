"""What a route asks of a request beside host, path and method: conditions, all of which must hold."""
from libc.stdint cimport uint8_t
from proxyd_ext.core.address cimport Address, Network
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head
from proxyd_ext.route.regex cimport RegexProgram


cdef enum:
    # What of a route does not match; of a condition: what it looks at.
    ROUTE_MISS_METHOD = 1 << 0
    ROUTE_MISS_HOST = 1 << 1
    ROUTE_MISS_PATH = 1 << 2
    ROUTE_MISS_HEADER = 1 << 3
    ROUTE_MISS_QUERY = 1 << 4
    ROUTE_MISS_COOKIE = 1 << 5
    ROUTE_MISS_SOURCE = 1 << 6

    TEST_PRESENT = 0
    TEST_EXACT = 1
    TEST_PREFIX = 2
    TEST_SUFFIX = 3
    TEST_REGEX = 4
    TEST_NETWORK = 5


ctypedef struct RouteInput:
    # A request, as routes look at it.
    const Head* head          # NULL: it has no fields
    Slice host                # without port, any case
    Slice path                # in normal form
    Slice query               # without '?'; data NULL: none
    const Address* client     # NULL: unknown, in no network
    uint8_t method            # METHOD_*


ctypedef struct RouteCondition:
    Slice name                # of the field (any case), cookie or parameter
    Slice value               # TEST_EXACT, TEST_PREFIX, TEST_SUFFIX
    const RegexProgram* regex   # TEST_REGEX
    const Network* networks   # TEST_NETWORK: one of them must hold the address
    int network_count
    uint8_t of                # ROUTE_MISS_*, other than METHOD
    uint8_t test              # TEST_*
    bint negate


cdef bint conditions_hold(const RouteCondition* conditions, int count, const RouteInput* asked) noexcept nogil
# ROUTE_MISS_* bits of those that do not hold.
cdef int conditions_missed(const RouteCondition* conditions, int count, const RouteInput* asked) noexcept nogil


cdef inline Slice host_without_dot(Slice host) noexcept nogil:
    """`example.com.` is the same name as `example.com` (RFC 3986 §3.2.2)."""
    if host.size > 0 and host.data[host.size - 1] == c'.':
        host.size -= 1
    return host
