"""The PROXY header that a server is sent in front of everything (upstreams with `proxy_protocol`)."""
from libc.stdint cimport uint64_t
from proxyd_ext.core.address cimport Address
from proxyd_ext.io.poller cimport Stream
from proxyd_ext.snapshot.compile cimport CompiledUpstream


# `id`: of the record, for the unique id.
cdef void introduce(Stream* server, const CompiledUpstream* upstream, const Address* client, const Address* local,
                    uint64_t id) noexcept nogil
