"""What a route matches, from its spec to what the native route table takes."""
from libc.stdint cimport uint32_t
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.route.condition cimport RouteCondition


cdef class RouteMatch:
    """Of a RouteSpec; ValueError where a condition of it makes no sense.  `expressions` must outlive the table, which copies all else."""

    cdef Slice host
    cdef Slice path
    cdef int path_kind              # PATH_*
    cdef uint32_t methods
    cdef RouteCondition* conditions
    cdef int count
    cdef readonly list expressions  # Regex
    cdef list _keep                 # what the slices point into
    cdef object _compile(self, condition, RouteCondition* out)
