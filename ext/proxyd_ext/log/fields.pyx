"""Conversion of access records; a missing key takes the value of a plain request that nothing happened to."""
from libc.stdint cimport uint8_t
from libc.string cimport memset
from proxyd_ext.core.ending cimport END_NONE
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.log.record cimport RECORD_HTTP, T_NONE, AccessRecord


cdef class RecordFields:
    def __cinit__(self, values):
        cdef AccessRecord* r = &self.record
        rest = dict(values)
        memset(r, 0, sizeof(AccessRecord))
        self._kept = []
        r.kind = rest.pop("kind", RECORD_HTTP)
        r.end = rest.pop("end", END_NONE)
        r.time_us = rest.pop("time_us", 0)
        r.id = rest.pop("id", 0)
        r.bytes_in = rest.pop("bytes_in", 0)
        r.bytes_out = rest.pop("bytes_out", 0)
        r.body_out = rest.pop("body_out", 0)
        r.config = rest.pop("config", 0)
        r.t_total_us = rest.pop("t_total_us", 0)
        r.t_queue_us = _time(rest.pop("t_queue_us", None))
        r.t_connect_us = _time(rest.pop("t_connect_us", None))
        r.t_first_byte_us = _time(rest.pop("t_first_byte_us", None))
        r.status = rest.pop("status", 200)
        r.engine = rest.pop("engine", 0)
        r.client_port = rest.pop("client_port", 0)
        r.fault = rest.pop("fault", 0)
        r.attempts = rest.pop("attempts", 0)
        r.status_by = rest.pop("status_by", 0)
        r.minor = rest.pop("minor", 1)
        r.tls = rest.pop("tls", 0)
        r.traced = rest.pop("traced", 0)
        r.cache = rest.pop("cache", 0)
        r.cache_age = _time(rest.pop("cache_age", None))
        r.request_id = self._text(rest, "request_id")
        r.client_ip = self._text(rest, "client_ip")
        r.listener = self._text(rest, "listener")
        r.route = self._text(rest, "route")
        r.upstream = self._text(rest, "upstream")
        r.server = self._text(rest, "server")
        r.method = self._text(rest, "method")
        r.host = self._text(rest, "host")
        r.path = self._text(rest, "path")
        r.query = self._text(rest, "query")
        r.user_agent = self._text(rest, "user_agent")
        r.referer = self._text(rest, "referer")
        r.trace_id = self._text(rest, "trace_id")
        r.user = self._text(rest, "user")
        r.packets_in = rest.pop("packets_in", 0)
        r.packets_out = rest.pop("packets_out", 0)
        r.tls_name = self._text(rest, "tls_name")
        r.tls_alpn = self._text(rest, "tls_alpn")
        r.policies = self._text(rest, "policies")
        r.parent_id = self._text(rest, "parent_id")
        r.tries = self._text(rest, "tries")
        if rest:
            raise TypeError(f"no such field of an access record: {', '.join(sorted(rest))}")

    cdef Slice _text(self, dict rest, str name):
        cdef bytes text = rest.pop(name, None)
        if text is None:
            return slice_of(NULL, 0)
        self._kept.append(text)
        return slice_of(<const uint8_t*><const char*>text, len(text))


cdef unsigned int _time(value) except? 0:
    return T_NONE if value is None else value


cdef object _bytes(Slice s):
    return None if s.data == NULL else (<const char*>s.data)[:s.size]


cdef object _time_or_none(unsigned int us):
    return None if us == T_NONE else us


cdef dict record_to_dict(const AccessRecord* r):
    """Every field by its name; None for a time that does not apply and for a string with no data."""
    return {
        "kind": r.kind, "end": r.end, "time_us": r.time_us, "id": r.id, "bytes_in": r.bytes_in, "bytes_out": r.bytes_out,
        "body_out": r.body_out, "config": r.config,
        "t_total_us": r.t_total_us, "t_queue_us": _time_or_none(r.t_queue_us),
        "t_connect_us": _time_or_none(r.t_connect_us), "t_first_byte_us": _time_or_none(r.t_first_byte_us),
        "status": r.status, "engine": r.engine, "client_port": r.client_port, "fault": r.fault, "attempts": r.attempts,
        "status_by": r.status_by, "minor": r.minor, "tls": r.tls,
        "cache": r.cache, "cache_age": _time_or_none(r.cache_age), "request_id": _bytes(r.request_id), "client_ip": _bytes(r.client_ip),
        "listener": _bytes(r.listener), "route": _bytes(r.route), "upstream": _bytes(r.upstream), "server": _bytes(r.server),
        "method": _bytes(r.method), "host": _bytes(r.host), "path": _bytes(r.path), "query": _bytes(r.query),
        "user_agent": _bytes(r.user_agent), "referer": _bytes(r.referer), "trace_id": _bytes(r.trace_id),
        "user": _bytes(r.user), "packets_in": r.packets_in, "packets_out": r.packets_out, "tls_name": _bytes(r.tls_name),
        "tls_alpn": _bytes(r.tls_alpn), "policies": _bytes(r.policies),
        "traced": r.traced, "parent_id": _bytes(r.parent_id), "tries": _bytes(r.tries),
    }
