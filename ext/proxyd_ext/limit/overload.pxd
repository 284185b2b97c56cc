"""The overload guard's word to the engines: below which class requests are shed."""

cdef struct OverloadData:
    int shed_below            # CLASS_* that still pass; 0: all do
    int retry_s               # what the refused are told

cdef class Overload:
    cdef OverloadData data
