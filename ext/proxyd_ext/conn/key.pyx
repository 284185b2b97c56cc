"""Client identity and hash keys (see key.pxd)."""
from libc.stdint cimport uint8_t, uint32_t
from proxyd_ext.core.address cimport ADDRESS_V4, address_parse, network_contains
from proxyd_ext.core.hash cimport crc32_update
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.http1.fields cimport cookie_value, field_from_last, parameter_next
from proxyd_ext.snapshot.compile cimport (
    KEY_CLIENT_IP, KEY_CLIENT_NET, KEY_COOKIE, KEY_FLOW, KEY_HEADER, KEY_HOST, KEY_PATH, KEY_QUERY, KEY_URI,
)


cdef bint trusted_peer(const CompiledListener* listener, const Address* address) noexcept nogil:
    cdef int i
    for i in range(listener.trust_count):
        if network_contains(&listener.trust[i], address):
            return True
    return False


cdef Slice _last_element(Slice* list) noexcept nogil:
    """Cut the last element off a comma-separated list."""
    cdef size_t start = list.size
    cdef Slice out
    while start > 0 and list.data[start - 1] != c',':
        start -= 1
    out = slice_of(list.data + start, list.size - start)
    list.size = start - 1 if start > 0 else 0
    while out.size and (out.data[0] == c' ' or out.data[0] == c'\t'):
        out.data += 1
        out.size -= 1
    while out.size and (out.data[out.size - 1] == c' ' or out.data[out.size - 1] == c'\t'):
        out.size -= 1
    return out


cdef Slice real_client(const CompiledListener* listener, const Head* head, Address* address, Slice otherwise) noexcept nogil:
    cdef Slice list, element, best = otherwise
    cdef Address parsed
    cdef int number = 0
    if listener.client_ip_header.size == 0:
        return otherwise
    while True:
        list = field_from_last(head, listener.client_ip_header, number)
        if list.data == NULL:
            return best
        number += 1
        while list.size:
            element = _last_element(&list)
            if not address_parse(element, &parsed):
                return best   # what stands left of nonsense cannot be believed
            address[0] = parsed
            best = element
            if not trusted_peer(listener, &parsed):
                return best


cdef uint64_t request_key(const Exchange* exchange, const Head* head, bint* found) noexcept nogil:
    cdef int key = exchange.upstream.key
    cdef Slice text
    cdef size_t at = 0
    cdef uint32_t crc
    found[0] = True
    if key == KEY_CLIENT_IP:
        text = exchange.client_ip
    elif key == KEY_CLIENT_NET:
        text = slice_of(exchange.client_address.bytes, 3 if exchange.client_address.family == ADDRESS_V4 else 16)
    elif key == KEY_FLOW:     # of a request: address and port of the client
        crc = crc32_update(0, exchange.client_address.bytes, 16)
        return crc32_update(crc, <const uint8_t*>&exchange.client_address.port, 2)
    elif key == KEY_HOST:
        text = exchange.host
    elif key == KEY_PATH:
        text = exchange.path
    elif key == KEY_URI:
        crc = crc32_update(0, exchange.path.data, exchange.path.size)
        if exchange.query.data != NULL:
            crc = crc32_update(crc, <const uint8_t*>b"?", 1)
            crc = crc32_update(crc, exchange.query.data, exchange.query.size)
        return crc
    elif key == KEY_HEADER:
        text = field_from_last(head, exchange.upstream.key_name, 0)
    elif key == KEY_COOKIE:
        text = cookie_value(head, exchange.upstream.key_name)
    else:
        INVARIANT(key == KEY_QUERY)
        text = parameter_next(exchange.query, exchange.upstream.key_name, &at)
    found[0] = text.size > 0
    return crc32_update(0, text.data, text.size)
