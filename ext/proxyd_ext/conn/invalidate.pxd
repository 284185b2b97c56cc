"""Unsafe methods that succeeded: what they make invalid (RFC 9111 §4.4)."""
from proxyd_ext.conn.model cimport Exchange
from proxyd_ext.core.events cimport EventNode
from proxyd_ext.http1.head cimport Head


# A URL that a method made invalid, on its way to the control plane; the text stands behind it. Whoever takes the event frees it.
ctypedef struct InvalidUrl:
    EventNode node
    size_t size


# The target of the request, and what Location and Content-Location of the answer name of the same origin.
cdef void cached_invalidate(Exchange* exchange, const Head* head) noexcept nogil
