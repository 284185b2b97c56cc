"""LOG: the end of every exchange. Counters, histograms and the access record are written here, once."""
from proxyd_ext.conn.model cimport Exchange


cdef void record_exchange(Exchange* exchange) noexcept nogil
# A try at a server is over: its outcome in the server's counters.  fault 0: it answered with exchange.status.
cdef void record_try(Exchange* exchange, int fault) noexcept nogil
