"""Countries of addresses by a MaxMind DB file (its format: MaxMind DB File Format Specification 2.0), searched without the GIL.

The file's search tree leads from the bits of an address to the offset of a record. What the records say is read once, with MaxMind's own
library, when the file is loaded; from then on an offset stands for two letters, and a look-up is a walk down the tree and one probe of a
hash table. All of it is private memory, not a mapping of the file: a database that is overwritten in place (`cp` instead of `mv`) must not
kill the daemon with SIGBUS, nor change what a snapshot says.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from proxyd_ext.core.address cimport Address


ctypedef struct CountrySlot:
    uint32_t record       # as the tree has it; 0: the slot is free (a tree never leads back to its root)
    uint16_t country      # first letter << 8 | second


ctypedef struct CountryData:
    const uint8_t* tree   # node_count nodes of two records each
    uint32_t node_count
    uint32_t node_bytes   # 6, 7 or 8: records of 24, 28 or 32 bits
    uint32_t ipv4_start   # the record that ::/96 leads to; the root of a tree for IPv4 only
    uint32_t address_bits  # 128, or 32: a tree for IPv4 only
    CountrySlot* slots    # records that tell a country; at least half of them free
    uint32_t mask         # their number - 1


# The country's two letters as first << 8 | second; 0: unknown.
cdef uint16_t country_find(const CountryData* data, const Address* address) noexcept nogil


cdef class Countries:
    cdef CountryData* data
    cdef bytes _tree                      # what data.tree points into
    cdef readonly unsigned long long build_epoch
    cdef readonly frozenset codes
