"""Stored lines and conditions: what is stored is counted right and is a head again that stores as itself; freshening by itself changes
nothing but the order; conditions have one of their answers.

An input is field lines, read as an answer's, a 304's and a request's.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp
from proxyd_ext.cache.conditional cimport (
    COND_FAILED, COND_NONE, COND_ORIGIN, Validators, evaluate_conditions, freshens, if_range_matches, read_validators,
)
from proxyd_ext.cache.merge cimport merge_lines, storable_lines
from proxyd_ext.core.shim cimport INVARIANT
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.http1.head cimport Head
from proxyd_fuzz.heads cimport answer_around, request_around


cdef enum:
    NOW = 1800000000


cdef void check_lines(const Head* answer) noexcept nogil:
    cdef int n = storable_lines(answer, NOW, False, NULL, 0), m
    cdef uint8_t* lines = <uint8_t*>malloc(n)
    cdef uint8_t* again
    cdef Head* head
    INVARIANT(n >= 8 and storable_lines(answer, NOW, False, lines, n) == n and storable_lines(answer, NOW, False, lines, n - 1) == -1)
    INVARIANT(storable_lines(answer, NOW, False, lines, n) == n)
    head = answer_around(lines, n)
    INVARIANT(head != NULL)
    again = <uint8_t*>malloc(n)
    INVARIANT(storable_lines(head, NOW, False, again, n) == n and memcmp(again, lines, n) == 0)
    INVARIANT(merge_lines(slice_of(lines, n), head, NOW, again, n) == n)
    free(again)
    free(head)
    m = merge_lines(slice_of(lines, n), answer, NOW, NULL, 0)
    again = <uint8_t*>malloc(m)
    INVARIANT(merge_lines(slice_of(lines, n), answer, NOW, again, m) == m)
    head = answer_around(again, m)
    INVARIANT(head != NULL)
    free(head)
    free(again)
    free(lines)


cdef int one_input_c(const uint8_t* data, size_t size) noexcept:
    cdef Head* answer = answer_around(data, size)
    cdef Head* request = request_around(data, size)
    cdef Validators stored
    cdef int verdict
    if answer != NULL:
        check_lines(answer)
        read_validators(answer, NOW, &stored)
        INVARIANT(stored.date_s >= 0 and stored.last_modified_s >= -1)
        freshens(&stored, answer, NOW)
        if request != NULL:
            verdict = evaluate_conditions(request, &stored, False, NOW)
            INVARIANT(COND_NONE <= verdict <= COND_ORIGIN and verdict != COND_FAILED)
            verdict = evaluate_conditions(request, &stored, True, NOW)
            INVARIANT(COND_NONE <= verdict <= COND_FAILED)
            if_range_matches(request, &stored, NOW)
    free(request)
    free(answer)
    return 0


one_input = PyCapsule_New(<void*>one_input_c, "proxyd_fuzz.one_input", NULL)
