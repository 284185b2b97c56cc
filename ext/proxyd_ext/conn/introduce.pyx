"""PROXY headers to servers (see introduce.pxd)."""
from libc.stdint cimport uint32_t, uint8_t
from proxyd_ext.core.slice cimport Slice, slice_empty, slice_of
from proxyd_ext.io.stream cimport stream_commit, stream_room
from proxyd_ext.log.text cimport Out, out_of, put_hex
from proxyd_ext.preface.proxy cimport PROXY_STREAM, PROXY_WRITE_MAX, proxy_write

cdef enum:
    ID_BYTES = 16             # of a unique id, in hex: as the record has it


cdef void introduce(Stream* server, const CompiledUpstream* upstream, const Address* client, const Address* local,
                    uint64_t id) noexcept nogil:
    cdef uint8_t* out = stream_room(server, PROXY_WRITE_MAX)
    cdef uint8_t[ID_BYTES] text
    cdef Out hex = out_of(text, ID_BYTES)
    cdef Slice unique_id = slice_empty()
    if upstream.proxy_unique_id:
        put_hex(&hex, id, ID_BYTES)
        unique_id = slice_of(text, ID_BYTES)
    stream_commit(server, out, <uint32_t>proxy_write(out, upstream.proxy, PROXY_STREAM, client, local, upstream.proxy_crc, unique_id))
