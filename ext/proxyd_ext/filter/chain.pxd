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
    Slice request_lines       # FILTER_HEADERS: field lines to set, with those of all steps before it
    Slice response_lines


ctypedef struct FilterState:
    # What the steps know of an exchange, and what they want done to it.
    const Address* client
    Slice request_lines
    Slice response_lines
    int at                    # the next step


# Mark the fields of `head` that `lines` sets anew, so that the head writers leave them out: `set` replaces, it does not add beside.
# Returns the bits of the known fields (FIELD_*) among them.
cdef uint64_t replace_fields(Head* head, Slice lines) noexcept nogil

cdef int chain_run(const FilterStep* steps, int count, FilterState* state) noexcept nogil
