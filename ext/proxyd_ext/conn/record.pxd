"""LOG: the end of every exchange. Counters, histograms and the access record are written here, once."""
from proxyd_ext.balance.pool cimport PoolData
from proxyd_ext.balance.server cimport ServerData
from proxyd_ext.conn.model cimport Context, Exchange


cdef void record_exchange(Exchange* exchange) noexcept nogil
# A try at a server is over: its outcome in the server's counters.  fault 0: it answered with exchange.status.
cdef void record_try(Exchange* exchange, int fault) noexcept nogil
# The answer that stands in exchange.status was a reason to try again (a fault is noted by record_try).
cdef void record_unwanted(Exchange* exchange) noexcept nogil
# A try, or a copy, failed at the server: passive health, and word to the control plane when that ejected it.
cdef void record_failure(Context* context, const PoolData* pool, ServerData* server) noexcept nogil
