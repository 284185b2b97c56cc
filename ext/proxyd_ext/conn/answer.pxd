"""Answers that proxyd makes itself: errors, fixed responses, redirects (interface.md §7)."""
from libc.stdint cimport uint16_t
from proxyd_ext.conn.model cimport Exchange
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head
from proxyd_ext.snapshot.compile cimport CompiledPage


cdef enum:
    WANT_TEXT = 0
    WANT_JSON = 1
    WANT_HTML = 2

    REQUEST_ID_MAX = 128


# Which form of error body an Accept field asks for.
cdef int wanted_form(Slice accept) noexcept nogil
# Each composes a whole answer for the exchange's client and sets its status and bytes_out.  `fault` gives status and words.
cdef void answer_fault(Exchange* exchange, int fault) noexcept nogil
cdef void answer_refusal(Exchange* exchange) noexcept nogil                      # a verdict that has a body of its own
cdef void answer_fixed(Exchange* exchange) noexcept nogil                        # the route's respond
cdef void answer_options(Exchange* exchange) noexcept nogil                      # OPTIONS that was to come no further than to us
cdef void answer_redirect(Exchange* exchange) noexcept nogil                     # the route's redirect
# A page in the place of a server's answer, with that one's status: of its head only Retry-After, WWW-Authenticate, Allow, Set-Cookie and
# Cache-Control stay, which speak to the client or to caches of more than the body that goes.  `cookies`: whole lines that are added.
cdef void answer_instead(Exchange* exchange, const CompiledPage* page, const Head* head, Slice cookies) noexcept nogil
cdef void answer_with(Exchange* exchange, uint16_t status, Slice head, Slice body) noexcept nogil
# Text of a request's id: what a trusted peer gave if it is harmless in a body, else ours in 16 hex digits; returns the bytes written (at
# most 128).
cdef int write_request_id(const Exchange* exchange, unsigned char* out) noexcept nogil
