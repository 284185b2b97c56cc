"""A tunnel: after 101 the two connections carry bytes both ways until both sides have ended or nothing moved for tunnel_idle."""
from proxyd_ext.conn.model cimport Exchange


# Pump what came from the client / the origin.
cdef void tunnel_from_client(Exchange* exchange) noexcept nogil
cdef void tunnel_from_origin(Exchange* exchange) noexcept nogil
# That side sent FIN, or everything given to that side has gone out.  Return True when both directions have ended.
cdef bint tunnel_client_ended(Exchange* exchange) noexcept nogil
cdef bint tunnel_origin_ended(Exchange* exchange) noexcept nogil
cdef bint tunnel_client_drained(Exchange* exchange) noexcept nogil
cdef bint tunnel_origin_drained(Exchange* exchange) noexcept nogil
