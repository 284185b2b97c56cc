"""What a user's filter changes, made and checked on the control plane."""
from proxyd_ext.filter.state cimport FilterChange


# One block; the caller frees it.  ValueError for what may not be changed, or would break a head.
cdef FilterChange* new_change(bytes lines, bytes drop, str path, query, int status) except NULL
