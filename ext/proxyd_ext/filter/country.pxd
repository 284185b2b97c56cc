"""Countries of addresses by a MaxMind DB file (its format: MaxMind DB File Format Specification 2.0), searched without the GIL."""
from libc.stdint cimport uint16_t
from proxyd_ext.core.address cimport Address


cdef struct CountryData


# The country's two letters as first << 8 | second; 0: unknown.
cdef uint16_t country_find(const CountryData* data, const Address* address) noexcept nogil


cdef class Countries:
    cdef CountryData* data
    cdef object _keep
