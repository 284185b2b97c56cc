"""Looking for a server for a flow: branch, circuit, balancer, retries. A TCP flow may try again until it is connected; no byte has been
sent before that.

    choice_begin → choice_next → (connected: choice_made) | (failed: choice_failed → choice_next) → choice_end
"""
from libc.stdint cimport int64_t
from proxyd_ext.core.address cimport Address
from proxyd_ext.conn.model cimport Context
from proxyd_ext.l4.model cimport Choice, Facts
from proxyd_ext.snapshot.compile cimport CompiledFlowRoute, CompiledListener


# Holds the snapshot.  `local`: where the client connected to; the port counts for the key "flow".
cdef void choice_begin(Choice* choice, Context* context, const CompiledListener* listener, const CompiledFlowRoute* route,
                       const Address* client, const Address* local) noexcept nogil
# Choose a server that was not tried: 0, and it is counted in flight; or -FAULT_* (no server, circuit open, no room).
cdef int choice_next(Choice* choice) noexcept nogil
# The try has failed: counted, passively, and the server is left.  True: `retry` of the target admits another one.
cdef bint choice_failed(Choice* choice, int fault) noexcept nogil
# `connect_us`: -1: nobody knows (UDP: the server has said nothing yet).
# The server took the flow: counted; `facts` holds server and upstream from here on (facts_leave gives them back).
cdef void choice_made(Choice* choice, Facts* facts, int64_t connect_us) noexcept nogil
# Let go of what looking needed.  Any number of times; what choice_next counted and choice_made did not take over is given back.
cdef void choice_end(Choice* choice) noexcept nogil
