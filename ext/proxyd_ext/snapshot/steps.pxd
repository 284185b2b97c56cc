"""Compiling a route's filters into the steps of its chain."""
from libc.stdint cimport uint16_t
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.filter.key cimport LimitKey
from proxyd_ext.filter.rules cimport AccessRule, AuthRule, FilterStep, LimitRule, PlanRule, RequestRule


cdef class RouteSteps:
    """Of a sequence of Filters in the order in which they act; ValueError where one makes no sense. It must outlive the snapshot's
    routes."""

    cdef FilterStep* steps
    cdef int count
    cdef int room
    cdef bint stateful        # some step keeps something for the exchange's life
    cdef int light            # LIGHT_*
    cdef bint hears_responses   # some step may want to see answers
    cdef list _keep           # what the compiled form points into: bytes and handles
    cdef object _request      # FieldEdits
    cdef object _response
    cdef dict _auths          # step -> its policy
    cdef int _lightness(self)
    cdef FilterStep* _new(self, int kind, str policy) except NULL
    cdef Slice _lines(self, value) except *
    cdef uint16_t* _countries(self, codes, int* count) except? NULL
    cdef int _access(self, spec, AccessRule* out) except -1
    cdef int _request_rule(self, spec, RequestRule* out) except -1
    cdef int _limit(self, spec, LimitRule* out) except -1
    cdef int _auth(self, spec, AuthRule* out) except -1
    cdef PlanRule* _plans(self, plans) except NULL
    cdef int _headers(self, str policy, remove, set_lines, add_lines, response_remove, response_set, response_add) except -1
    cdef int _compile(self, spec) except -1
