"""Birth and death of what all flows have in common: limits on the way in, counters, the record."""
from libc.stdint cimport int64_t
from proxyd_ext.conn.model cimport Context
from proxyd_ext.core.address cimport Address
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.io.listener cimport ListenerLocal
from proxyd_ext.l4.model cimport Facts


# May this address have a flow here?  0, and it is counted (listener total, client address, open_count); or REJECT_*, counted as rejected.
# For RECORD_UDP REJECT_CONNECTIONS is not counted: l4/udp may make room, and ask again.
# On `proxied` listeners it is asked again by facts_rename when the header has come; before that only the total is counted.
cdef int facts_begin(Facts* facts, Context* context, ListenerLocal* local, const Address* peer, int kind) noexcept nogil
# A PROXY header has told who the client is.  0 or REJECT_*, as above; then facts_end must still be called.
cdef int facts_rename(Facts* facts, const Address* client) noexcept nogil
# Its server has refused what came after it had taken the flow: a failure of the server.
cdef void facts_failed(Facts* facts, int fault) noexcept nogil
# The flow leaves its server and upstream.
cdef void facts_leave(Facts* facts) noexcept nogil
# It is over (END_*): counters, its record, and everything back that facts_begin took.  For the record, where there is one: the route, the
# upstream that it was for (counts without a server), server name and protocols of a ClientHello.
cdef void facts_end(Facts* facts, int end, Slice route, Slice upstream, Slice name, Slice alpn) noexcept nogil
# Asked of every flow when servers or listeners change: END_* when it must end now, else 0; sets leave_ms.
cdef int facts_review(Facts* facts) noexcept nogil
