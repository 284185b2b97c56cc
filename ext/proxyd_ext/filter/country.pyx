"""Countries of addresses (see country.pxd). Nothing in a file is believed: every node and every offset is checked where it is read, so that
a broken database is an error when it is loaded, or an unknown country, and never more."""
import ipaddress
import os
import stat

from libc.stdlib cimport calloc, free
from libc.string cimport memset
from proxyd_ext.core.address cimport ADDRESS_V4, ADDRESS_V6, address_parse
from proxyd_ext.core.hash cimport mix64
from proxyd_ext.core.slice cimport slice_of

cdef enum:
    SEPARATOR = 16            # bytes of zeros between tree and data; records count the data from there

LARGEST = 1 << 30             # bytes of a file; the largest that MaxMind sells is half of that


cdef uint32_t _record(const CountryData* data, uint32_t node, int side) noexcept nogil:
    """One record of a node < node_count: the number of a node, node_count for nothing, or more for data."""
    cdef const uint8_t* at = data.tree + <size_t>node * data.node_bytes
    if data.node_bytes == 6:
        at += 3 * side
        return <uint32_t>at[0] << 16 | <uint32_t>at[1] << 8 | at[2]
    if data.node_bytes == 8:
        at += 4 * side
        return <uint32_t>at[0] << 24 | <uint32_t>at[1] << 16 | <uint32_t>at[2] << 8 | at[3]
    if side == 0:
        return <uint32_t>(at[3] >> 4) << 24 | <uint32_t>at[0] << 16 | <uint32_t>at[1] << 8 | at[2]
    return <uint32_t>(at[3] & 0x0F) << 24 | <uint32_t>at[4] << 16 | <uint32_t>at[5] << 8 | at[6]


cdef uint32_t _walk(const CountryData* data, uint32_t record, const uint8_t* address, uint32_t bits) noexcept nogil:
    """The record that so many bits of the address lead to."""
    cdef uint32_t i
    for i in range(bits):
        if record >= data.node_count:
            break
        record = _record(data, record, address[i >> 3] >> (7 - (i & 7)) & 1)
    return record


cdef uint16_t country_find(const CountryData* data, const Address* address) noexcept nogil:
    cdef uint32_t record, at
    if address.family == ADDRESS_V4:
        record = _walk(data, data.ipv4_start, address.bytes, 32)
    elif address.family == ADDRESS_V6 and data.address_bits == 128:
        record = _walk(data, 0, address.bytes, 128)
    else:
        return 0
    if record <= data.node_count:
        return 0              # nothing; less than that only where the tree is deeper than an address, as no sound one is
    at = <uint32_t>mix64(record) & data.mask
    while data.slots[at].record != 0:
        if data.slots[at].record == record:
            return data.slots[at].country
        at = (at + 1) & data.mask
    return 0


cdef class Countries:
    """A database in memory."""

    def __cinit__(self):
        self.data = <CountryData*>calloc(1, sizeof(CountryData))
        if self.data == NULL:
            raise MemoryError

    def __init__(self, str path not None):
        if self._tree is not None:
            raise TypeError("a database is loaded once")
        import maxminddb      # an extra: who has no database needs no library

        content = _content(path)
        copy = os.memfd_create("mmdb")         # the library reads files only; its own mapping of a file could be cut short by others
        try:
            with open(copy, "wb", closefd=False) as file:
                file.write(content)
            with maxminddb.open_database(f"/proc/self/fd/{copy}") as reader:
                _load(self, content, reader)
        except (OSError, MemoryError):
            raise
        except Exception as error:     # a broken file makes the library raise all kinds of them
            message = str(error) if type(error) is ValueError else "it is not a MaxMind database, or a broken one"
            raise ValueError(message) from error
        finally:
            os.close(copy)

    def __dealloc__(self):
        if self.data != NULL:
            free(self.data.slots)
            free(self.data)

    def country(self, str address not None) -> str:
        cdef Address parsed
        cdef bytes text = address.encode("ascii", "replace")
        cdef uint16_t found = 0
        if address_parse(slice_of(<const uint8_t*><const char*>text, len(text)), &parsed):
            with nogil:
                found = country_find(self.data, &parsed)
        return chr(found >> 8) + chr(found & 0xFF) if found else ""


cdef _load(Countries self, bytes content, reader):
    """Fill it from the content of a file and the library's reader of the same."""
    cdef CountryData* data = self.data
    cdef uint8_t[16] zero
    facts = reader.metadata()
    if facts.record_size not in (24, 28, 32) or facts.ip_version not in (4, 6) or facts.binary_format_major_version != 2:
        raise ValueError("it is of a version of the format that is not known here")
    size = facts.node_count * facts.record_size // 4
    if not 0 < facts.node_count < 1 << 32 or size + SEPARATOR > len(content):
        raise ValueError("it is broken: the search tree is larger than the file")
    self._tree = content[:size]
    self.build_epoch = facts.build_epoch
    data.tree = self._tree
    data.node_count = facts.node_count
    data.node_bytes = facts.record_size // 4
    data.address_bits = 128 if facts.ip_version == 6 else 32
    memset(zero, 0, 16)
    data.ipv4_start = _walk(data, 0, zero, data.address_bits - 32)
    known = {}
    for record, address in _records(data, len(content) - size - SEPARATOR):
        code = _country(reader.get(address))
        if code:
            known[record] = code
    if not known:
        raise ValueError("it does not tell countries")
    self.codes = frozenset(known.values())
    _fill(data, known)


cdef _fill(CountryData* data, dict known):
    """The hash table, from the countries of records."""
    cdef uint32_t at, record
    cdef size_t count = 16
    while count < 2 * <size_t>len(known):
        count *= 2
    data.slots = <CountrySlot*>calloc(count, sizeof(CountrySlot))
    if data.slots == NULL:
        raise MemoryError
    data.mask = <uint32_t>(count - 1)
    for record, code in known.items():
        at = <uint32_t>mix64(record) & data.mask
        while data.slots[at].record != 0:
            at = (at + 1) & data.mask
        data.slots[at].record = record
        data.slots[at].country = ord(code[0]) << 8 | ord(code[1])


def _at_once(path, flags):
    return os.open(path, flags | os.O_NONBLOCK)     # a pipe does not wait for its other end


cdef bytes _content(str path):
    with open(path, "rb", opener=_at_once) as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("it is not a file")
        if facts.st_size > LARGEST:
            raise ValueError("it is larger than 1 GiB")
        return file.read(facts.st_size)      # Python makes room for all that is asked for


cdef str _country(object record):
    """What a record says: {country: {iso_code: XX}} as those of MaxMind and DB-IP, {country: XX} and {country_code: XX} as others; "" if
    nothing."""
    if not isinstance(record, dict):
        return ""
    found = record.get("country", record.get("country_code"))
    code = found.get("iso_code") if isinstance(found, dict) else found
    return code.upper() if isinstance(code, str) and len(code) == 2 and code.isascii() and code.isalpha() else ""


cdef list _records(const CountryData* data, size_t data_size):
    """Each record that leads to data, once, with an address that leads to it (whose library wants one: there is no asking by offset).

    The walk visits a node once: alias networks (2002::/16, ::ffff:0:0/96) lead into the IPv4 part, and a broken file may have a ring.
    """
    cdef uint8_t* visited = <uint8_t*>calloc(data.node_count // 8 + 1, 1)
    cdef uint8_t* seen = <uint8_t*>calloc(data_size // 8 + 1, 1)
    cdef uint32_t[128] nodes              # from the root to here
    cdef uint8_t[128] sides               # which side of each comes next
    cdef uint8_t[16] address              # the way to here
    cdef uint32_t record
    cdef size_t offset
    cdef int depth = 0, side
    cdef int deepest = <int>data.address_bits - 1
    cdef list found = []
    try:
        if visited == NULL or seen == NULL:
            raise MemoryError
        memset(address, 0, 16)
        nodes[0] = sides[0] = 0
        visited[0] = 1
        while depth >= 0:
            side = sides[depth]
            if side == 2:
                address[depth >> 3] &= ~(<uint8_t>0x80 >> (depth & 7))
                depth -= 1
                continue
            sides[depth] += 1
            if side == 1:
                address[depth >> 3] |= 0x80 >> (depth & 7)
            record = _record(data, nodes[depth], side)
            if record == data.node_count:
                continue
            if record > data.node_count:
                offset = record - data.node_count
                if offset < SEPARATOR or offset - SEPARATOR >= data_size:
                    raise ValueError("it is broken: the search tree leads out of the file")
                offset -= SEPARATOR
                if not seen[offset >> 3] >> (offset & 7) & 1:
                    seen[offset >> 3] |= 1 << (offset & 7)
                    found.append((record, _address(address, data.address_bits)))
            elif not visited[record >> 3] >> (record & 7) & 1:
                if depth == deepest:
                    raise ValueError("it is broken: the search tree is deeper than an address")
                visited[record >> 3] |= 1 << (record & 7)
                depth += 1
                nodes[depth] = record
                sides[depth] = 0
        return found
    finally:
        free(visited)
        free(seen)


cdef object _address(const uint8_t* address, uint32_t bits):
    cdef bytes digits = <bytes>address[:bits // 8]
    return ipaddress.IPv6Address(digits) if bits == 128 else ipaddress.IPv4Address(digits)
