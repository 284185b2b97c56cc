"""Keys of limits: what requests are told apart by, as one 64-bit hash. The same parts always give the same hash in one process; for limits
that several proxies share, in all of them."""
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy

from proxyd_ext.core.address cimport ADDRESS_V4, Address
from proxyd_ext.core.hash cimport mix64
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.filter.state cimport FilterState

cdef enum:
    PART_CLIENT = 0
    PART_HOST = 1
    PART_PATH = 2
    PART_METHOD = 3
    PART_HEADER = 4
    PART_COOKIE = 5
    PART_QUERY = 6
    PART_USER = 7
    PART_CLAIM = 8
    PART_ROUTE = 9
    PART_LISTENER = 10

    PARTS_MAX = 4
    KEY_TEXT = 64             # bytes of a key that people are shown
    HOST_MAX = 255            # bytes of a host by which requests are told apart

ctypedef struct LimitPart:
    uint8_t kind              # PART_*
    uint32_t ipv4_mask        # of the network, as the address stands in memory
    uint64_t[2] ipv6_mask
    Slice name                # field (lower case), cookie, parameter or claim

ctypedef struct LimitKey:
    LimitPart[PARTS_MAX] parts
    int count
    bint client               # client.ip is all of it, and there is no salt
    uint64_t salt             # not 0: the hash is the same in every process
    uint64_t[3] seeds         # what addresses are hashed with: IPv4, and the two halves of IPv6

cdef inline uint64_t limit_key_network(const LimitKey* key, const LimitPart* part, const Address* address) noexcept nogil:
    """The network of an address, hashed. An IPv4 address, or half an IPv6 one, is 64 bits at most, for which a permutation will do: secret
    bits, mix64, and no two networks of a family meet at all (up to /64). Nobody is told a hash, and without the secret nobody knows which
    networks share a bucket. Not for salted keys, whose hashes others see in the store that is shared."""
    cdef uint32_t half
    cdef uint64_t[2] whole
    if address.family == ADDRESS_V4:
        memcpy(&half, address.bytes, 4)
        return mix64((half & part.ipv4_mask) ^ key.seeds[0])
    memcpy(whole, address.bytes, 16)
    return mix64(mix64((whole[0] & part.ipv6_mask[0]) ^ key.seeds[1]) ^ (whole[1] & part.ipv6_mask[1]) ^ key.seeds[2])


cdef inline uint64_t limit_key_client(const LimitKey* key, const Address* address) noexcept nogil:
    """What limit_key is for a `client` key."""
    cdef uint64_t hash = limit_key_network(key, &key.parts[0], address)
    return hash + (hash == 0)


# A host as all its spellings are one: in lower case, without a last dot (RFC 3986 section 3.2.2), written to `out` (HOST_MAX bytes).
cdef Slice plain_host(Slice host, uint8_t* out) noexcept nogil
# 0: every part is empty, and the request is not counted.
cdef uint64_t limit_key(const LimitKey* key, const FilterState* state) noexcept nogil
# The key as people read it, up to KEY_TEXT bytes; returns their number.
cdef int limit_key_text(const LimitKey* key, const FilterState* state, uint8_t* out) noexcept nogil
# From a spec's parts (snapshot/spec.py:LimitKeyPart).  Texts that the key points into are appended to `keep`.
cdef int limit_key_compile(spec, uint64_t salt, keep, LimitKey* out) except -1
