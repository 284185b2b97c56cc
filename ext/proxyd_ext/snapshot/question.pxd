"""A request that nobody sent, for `proxyd route`: put together from texts so that the native route table can be asked about it."""
from proxyd_ext.core.address cimport Address
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head
from proxyd_ext.route.condition cimport RouteInput


cdef class Question:
    cdef RouteInput asked
    cdef Head* head
    cdef Address address
    cdef list keep            # what `asked` points into
    cdef readonly str path    # in normal form
    cdef Slice _slice(self, str text)
    cdef int _read_fields(self, str host, list headers) except -1
