"""The filter chain: a route's policies compiled into an array of steps that run in order. Each step continues, answers, or waits.

To add a filter: a FILTER_* kind and its fields here, its case in `chain_run`, its spec in snapshot/spec.py and its row in
snapshot/compile.pyx.
"""
from libc.stdint cimport uint8_t, uint64_t
from proxyd_ext.core.address cimport Address, Network
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


cdef enum:
    FILTER_ACCESS = 1
    FILTER_HEADERS = 2

    CHAIN_CONTINUE = 0        # all steps passed.  A refusal is -FAULT_*
    CHAIN_WAIT = 1            # a step waits for the control plane; run on from `at` when it has answered


ctypedef struct FilterStep:
    int kind                  # FILTER_*
    Network* networks         # FILTER_ACCESS: longest prefix first
    int network_count
    bint default_allow
    # FILTER_HEADERS: the sum of this step and all before it (snapshot/fields.py)
    Slice request_lines       # field lines to write
    Slice request_drop        # names of fields not to pass on, in lower case, each with '\n'
    Slice response_lines
    Slice response_drop


ctypedef struct FilterState:
    # What the steps know of an exchange, and what they want done to it.
    const Address* client
    Slice request_lines
    Slice request_drop
    Slice response_lines
    Slice response_drop
    int at                    # the next step


# Mark the fields of `head` whose names stand in `names` (as FilterStep.request_drop), so that the head writers leave them out.  '_' in a
# field's name counts as '-', too: behind CGI's naming the two are one field, and what is dropped may be what a stranger must not say.
# Returns the bits of the known fields (FIELD_*) among the names, whether or not they stand in the head.
cdef uint64_t drop_fields(Head* head, Slice names) noexcept nogil
# Whether a field of that name is one of `names`.
cdef bint names_have(Slice names, Slice name) noexcept nogil

cdef int chain_run(const FilterStep* steps, int count, FilterState* state) noexcept nogil
