"""The ClientHello of a TLS connection, read without ending it (RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301 §3.1, RFC 9849).

Its handshake message may be split over records (RFC 8446 §5.1) and its records over packets, so the message is put together in `scratch`,
which is what the slices point into. Extensions that nobody knows (GREASE, RFC 8701) are skipped. With Encrypted ClientHello the name is the
outer one.
"""
from libc.stdint cimport uint8_t, uint16_t
from proxyd_ext.core.slice cimport Slice


cdef enum:
    HELLO_MAX = 16384         # bytes of the longest message that is read
    HELLO_RECORDS = 64        # records that it may be split over

    # Alerts (RFC 8446 §6.2), in the wire's numbers.
    ALERT_UNEXPECTED_MESSAGE = 10
    ALERT_RECORD_OVERFLOW = 22
    ALERT_ILLEGAL_PARAMETER = 47
    ALERT_DECODE_ERROR = 50
    ALERT_PROTOCOL_VERSION = 70
    ALERT_INTERNAL_ERROR = 80
    ALERT_UNRECOGNIZED_NAME = 112
    ALERT_NO_APPLICATION_PROTOCOL = 120
    ALERT_BYTES = 7           # of an alert on the wire


ctypedef struct ClientHello:
    Slice name                # host_name of server_name, lower case, no dot at its end; empty: none
    Slice alpn                # the ProtocolNameList without its length, well-formed; empty: none
    uint16_t version          # the highest 3.x that is offered, 0x0304 is TLS 1.3; 0: none is
    bint ech                  # an encrypted_client_hello is there
    uint8_t alert             # ALERT_*: after -FAULT_HELLO, what the client is to be told


# Read the ClientHello at the front of the bytes.  1: it is whole, `need[0]` bytes with its records; 0: more is needed, and nothing changes
# before there are `need[0]` bytes; -FAULT_HELLO, with `alert` and what was read in front of the fault.  `scratch`: HELLO_MAX bytes.
cdef int hello_parse(const uint8_t* data, size_t size, uint8_t* scratch, size_t* need, ClientHello* out) noexcept nogil
# Whether the list of protocols has this one.
cdef bint hello_offers(Slice alpn, Slice protocol) noexcept nogil
# A fatal alert as a record of its own; ALERT_BYTES written.
cdef void alert_write(uint8_t* out, uint8_t alert) noexcept nogil
