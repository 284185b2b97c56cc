# cython: cdivision=True
"""Keys of limits (see key.pxd)."""
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy, memset
from proxyd_ext.auth.verdict cimport verdict_attribute
from proxyd_ext.core.address cimport ADDRESS_TEXT, ADDRESS_UNIX, ADDRESS_V4, Address, address_parse, address_write
from proxyd_ext.core.hash cimport hash_bytes, hash_fixed, mix64
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport Slice, ascii_lower, slice_empty, slice_of
from proxyd_ext.http1.fields cimport cookie_value, field_from_last, parameter_next

PART_KINDS = {
    "client.ip": PART_CLIENT, "host": PART_HOST, "path": PART_PATH, "method": PART_METHOD, "header": PART_HEADER, "cookie": PART_COOKIE,
    "query": PART_QUERY, "user": PART_USER, "claim": PART_CLAIM, "route": PART_ROUTE, "listener": PART_LISTENER,
}


cdef inline Slice _user(const FilterState* state) noexcept nogil:
    cdef int i
    for i in range(state.verdict_count - 1, -1, -1):
        if state.verdicts[i].user.size:
            return state.verdicts[i].user
    return slice_empty()


cdef Slice _claim(const FilterState* state, Slice name) noexcept nogil:
    cdef Slice found = slice_empty()
    cdef int i
    for i in range(state.verdict_count - 1, -1, -1):
        found = verdict_attribute(state.verdicts[i], name)
        if found.data != NULL:
            break
    return found


cdef Slice plain_host(Slice host, uint8_t* out) noexcept nogil:
    cdef size_t i
    if host.size > 0 and host.data[host.size - 1] == c'.':
        host.size -= 1
    if host.size > HOST_MAX:
        host.size = HOST_MAX
    for i in range(host.size):
        out[i] = ascii_lower(host.data[i])
    return slice_of(out, host.size)


cdef Slice _text(const LimitPart* part, const FilterState* state, uint8_t* room) noexcept nogil:
    """The part's value in the request; anything but PART_CLIENT. `room`: HOST_MAX bytes, in which it may stand."""
    cdef size_t at = 0
    if part.kind == PART_HOST:
        return plain_host(state.host, room)
    if part.kind == PART_PATH:
        return state.path
    if part.kind == PART_METHOD:
        return state.head.method_text
    if part.kind == PART_HEADER:
        return field_from_last(state.head, part.name, 0)
    if part.kind == PART_COOKIE:
        return cookie_value(state.head, part.name)
    if part.kind == PART_QUERY:
        return parameter_next(state.query, part.name, &at)
    if part.kind == PART_USER:
        return _user(state)
    if part.kind == PART_CLAIM:
        return _claim(state, part.name)
    if part.kind == PART_ROUTE:
        return state.route
    INVARIANT(part.kind == PART_LISTENER)
    return state.listener


cdef inline uint64_t _hash(const LimitKey* key, const uint8_t* data, size_t size) noexcept nogil:
    return hash_bytes(data, size) if key.salt == 0 else hash_fixed(data, size, key.salt)


cdef uint64_t _client(const LimitKey* key, const LimitPart* part, const Address* address) noexcept nogil:
    """The network of an address. The two families never meet under a salt, since their texts have different lengths."""
    cdef uint32_t half
    cdef uint64_t[2] whole
    if key.salt == 0:
        return limit_key_network(key, part, address)
    if address.family == ADDRESS_V4:
        memcpy(&half, address.bytes, 4)
        half &= part.ipv4_mask
        return hash_fixed(<const uint8_t*>&half, 4, key.salt)
    memcpy(whole, address.bytes, 16)
    whole[0] &= part.ipv6_mask[0]
    whole[1] &= part.ipv6_mask[1]
    return hash_fixed(<const uint8_t*>whole, 16, key.salt)


cdef uint64_t limit_key(const LimitKey* key, const FilterState* state) noexcept nogil:
    cdef uint64_t hash = 0
    cdef bint found = False
    cdef uint8_t[HOST_MAX] room
    cdef const LimitPart* part
    cdef Slice text
    cdef int i
    for i in range(key.count):
        part = &key.parts[i]
        if part.kind == PART_CLIENT:
            found = True
            hash = mix64(hash) ^ _client(key, part, state.client)
            continue
        text = _text(part, state, room)
        found = found or text.size > 0
        hash = mix64(hash) ^ _hash(key, text.data, text.size)
    return (hash if hash else 1) if found else 0


cdef int limit_key_text(const LimitKey* key, const FilterState* state, uint8_t* out) noexcept nogil:
    cdef uint8_t[ADDRESS_TEXT] address
    cdef uint8_t[HOST_MAX] room
    cdef int i, at = 0
    cdef Slice text
    for i in range(key.count):
        if key.parts[i].kind == PART_CLIENT:
            text = slice_of(address, address_write(state.client, address))
        else:
            text = _text(&key.parts[i], state, room)
        if i > 0 and at < KEY_TEXT:
            out[at] = c'|'
            at += 1
        if text.size > <size_t>(KEY_TEXT - at):
            text.size = KEY_TEXT - at
        if text.size:
            memcpy(out + at, text.data, text.size)
        at += <int>text.size
    return at


cdef int _mask(uint8_t* out, int size, object bits) except -1:
    """The first bits set."""
    cdef bytes mask = ((2**bits - 1) * 2 ** (8 * size - bits)).to_bytes(size, "big")
    memcpy(out, <const uint8_t*>mask, size)
    return 0


cdef int limit_key_compile(spec, uint64_t salt, keep, LimitKey* out) except -1:
    """`keep(text)`: a Slice of bytes that live as long as the key, as a pair (address, size)."""
    cdef bytes name
    cdef int i
    out.count = 0
    out.salt = salt
    for i in range(3):
        out.seeds[i] = hash_bytes(<const uint8_t*>b"client.ip", 7 + i)      # secret, as the key of the hash is
    if not 1 <= len(spec) <= PARTS_MAX:
        raise ValueError(f"the key of a limit has one to {PARTS_MAX} parts")
    for part in spec:
        name = part.name.lower().encode() if part.kind == "header" else part.name.encode()
        keep.append(name)
        if not 0 <= part.ipv4_bits <= 32 or not 0 <= part.ipv6_bits <= 128:
            raise ValueError(f"no length of a prefix: {part.ipv4_bits}, {part.ipv6_bits}")
        out.parts[out.count].kind = PART_KINDS[part.kind]
        _mask(<uint8_t*>&out.parts[out.count].ipv4_mask, 4, part.ipv4_bits)
        _mask(<uint8_t*>out.parts[out.count].ipv6_mask, 16, part.ipv6_bits)
        out.parts[out.count].name = slice_of(<const uint8_t*><const char*>name, len(name))
        out.count += 1
    out.client = salt == 0 and out.count == 1 and out.parts[0].kind == PART_CLIENT
    return 0


def hash_key(parts, texts, salt: int = 0) -> int:
    """The hash under which limits know a key: one text a part; those of client.ip are IP literals. ValueError where one is none.
    0: every part is empty, and such requests are not counted."""
    cdef LimitKey key
    cdef Address address
    cdef bytes text
    cdef uint64_t hash = 0
    cdef bint found = False
    cdef uint8_t[HOST_MAX] room
    cdef Slice host
    cdef int i
    keep = []
    limit_key_compile(parts, salt, keep, &key)
    if len(texts) != key.count:
        raise ValueError(f"the key has {key.count} parts, {len(texts)} given")
    for i in range(key.count):
        text = texts[i].encode()
        if key.parts[i].kind == PART_CLIENT:
            if texts[i] == "unix":
                memset(&address, 0, sizeof(address))
                address.family = ADDRESS_UNIX
            elif not address_parse(slice_of(<const uint8_t*><const char*>text, len(text)), &address):
                raise ValueError(f"not an IP address: {texts[i]}")
            found = True
            hash = mix64(hash) ^ _client(&key, &key.parts[i], &address)
        else:
            if key.parts[i].kind == PART_HOST:
                host = plain_host(slice_of(<const uint8_t*><const char*>text, len(text)), room)
                text = (<const char*>host.data)[:host.size]
            found = found or len(text) > 0
            hash = mix64(hash) ^ _hash(&key, <const uint8_t*><const char*>text, len(text))
    return (hash if hash else 1) if found else 0
