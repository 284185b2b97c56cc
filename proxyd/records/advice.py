"""What an operator can do about a fault, by its word (`core/fault.pyx`): the last line of `proxyd why`."""
from __future__ import annotations

from collections.abc import Mapping

from proxyd_ext.core.fault import faults

_CLIENT = "The client sent it so; nothing is wrong here. "
_PROTOCOL = "The server breaks the protocol: ask it without proxyd (`curl -v`) and look at its answer, or for another service at that port."

ADVICE: Mapping[str, str] = {
    # what clients do
    "request_malformed": _CLIENT + "Ask what client it is; scanners do this, and clients that speak TLS to a plain port.",
    "request_line_malformed": _CLIENT + "Ask what client it is; scanners do this, and clients that speak TLS to a plain port.",
    "field_malformed": _CLIENT + "A field has a blank before its colon, a bare CR or LF, or bytes that may not be there.",
    "host_invalid": _CLIENT + "HTTP/1.1 wants exactly one Host field with a host name.",
    "framing_ambiguous": _CLIENT + "Content-Length and Transfer-Encoding disagree, which is how requests are smuggled.",
    "chunk_malformed": _CLIENT + "The chunks of its body are broken.",
    "path_invalid": _CLIENT + "The path has an escape that is none, or leads above the root.",
    "uri_too_long": "Raise `limits.uri_length` of the listener if such long targets are meant.",
    "head_too_large": "Raise `limits.header_size` or `limits.header_count` of the listener; often a cookie has grown too large.",
    "body_too_large": "Raise `limits.body_size` of the listener or the route if uploads of that size are meant.",
    "version_unsupported": _CLIENT + "It speaks a version of HTTP that this listener does not.",
    "method_refused": "TRACE and CONNECT are never passed on; other methods are refused where the route says so.",
    "transfer_coding_unknown": _CLIENT + "Only the chunked transfer coding is known.",
    "expectation_failed": _CLIENT + "Only `Expect: 100-continue` is known.",
    "head_timeout": "Raise `limits.header_timeout` if the clients' network is that slow; else it guards against idle connections.",
    "body_timeout": "Lower `limits.min_body_rate` if the clients' network is that slow.",
    "client_closed": "The client gave up. Where `t_total` is long, the answer took longer than the client wanted to wait.",
    "client_stalled": "The client stopped reading. Raise `limits.idle_timeout` if it may pause so long.",
    "client_limit": "Raise `limits.per_client` of the listener if many users share that address; `client_ip` names trusted proxies.",
    "loop": "The request was here before, as its Via field says: a server of the upstream sends it back. Look where its address leads.",
    "not_cached": _CLIENT + "It asked with `Cache-Control: only-if-cached`.",
    "not_stored": "The key is not stored. `proxyd cache get` shows what is.",
    "length_required": _CLIENT + "A value that is to be stored needs a Content-Length.",
    "ttl_invalid": _CLIENT + "`ttl` is a number of seconds above 0.",
    "proxy_header": "Clients of this listener must begin with a PROXY header: have the balancer in front send it, or leave it out here.",
    "hello_malformed": "The client does not speak TLS, or not at once; this listener passes on TLS alone.",
    "preface_timeout": "The client sent too little in `limits.header_timeout`; port scanners and health checks of others do that.",
    "name_unknown": "Add a route for that server name to the listener, or `to:` for all others.",
    # what policies decide
    "no_route": "`proxyd route METHOD URL` shows why each route did not match. Add one, or a last route without `match`.",
    "denied": "A policy denies access; it stands in `policies`. `proxyd route URL --client IP` shows which.",
    "rate_limited": "`proxyd limit show POLICY KEY` shows what is left for this key; raise `rate` or `burst`, or use another `key`.",
    "quota_exceeded": "The quota of this key is used up until its period ends; raise it in the plan.",
    "concurrency_limited": "The key has as many requests in flight as its policy allows; `proxyd limit list` shows them.",
    "banned": "`proxyd limit show POLICY KEY` says for how long; `proxyd limit reset POLICY KEY` ends the ban.",
    "unauthenticated": "The request had no credential. The client must send one as the policy of the route wants it.",
    "credential_refused": "The credential is wrong, expired, or not for this service. The log of the daemon may say more.",
    "auth_unavailable": "The authority that is asked (auth service, JWKS) did not answer: look at it, and at the log of the daemon.",
    "filter_failed": "The Python filter raised, overran its `timeout` or was not there: the log of the daemon has the trace.",
    "consult_timeout": "A decision that waits for the control plane took too long: look at the authority or filter, and at the load.",
    "consult_full": "Too many requests wait for decisions: the authority or filter is too slow for the traffic.",
    # what is full
    "no_server": "No server of the upstream is usable: `proxyd status` says why each is not. Repair one, or make one ready.",
    "circuit_open": "Most answers of the upstream failed. It is tried again by itself; look at its servers.",
    "queue_full": "Every server has `max_requests` in flight: add servers, raise `max_requests`, or `circuit.max_pending`.",
    "queue_timeout": "No server had room in time: add servers, raise `max_requests`, or `circuit.queue_timeout`.",
    "retry_budget": "So many requests are being retried that more would do harm. Look at the failures that are retried.",
    "route_full": "The route has its `concurrency.max` in flight; raise it, or find out why requests take so long.",
    "route_timeout": "The route had no place in time: raise `concurrency.max`, or find out why requests take so long.",
    "shed": "Requests wait too long for a server: there is more traffic than the upstream can serve.",
    "overloaded": "proxyd sheds load (`runtime.overload`): `proxyd limit list` shows how much. Add CPU or memory, or spread the traffic.",
    "connections_full": "Raise `limits.connections` of the listener if the machine has room for more.",
    "memory": "The machine or cgroup has no memory left: lower `cache.memory.size` or the limits, or give it more.",
    "fd_exhausted": "Raise the limit of open files (`LimitNOFILE=` of the unit): `proxyd doctor` shows it.",
    "no_room": "The value is larger than the cache has room for: raise `cache.memory.size`.",
    "draining": "proxyd was shutting down when the request came. Clients may try again at once.",
    # what servers do
    "connect_refused": "Nothing listens at that address: is the server started, and is the port right? `proxyd check --online` tries it.",
    "connect_timeout": "No answer to the connection: a firewall drops it, the host is down, or its backlog is full.",
    "connect_unreachable": "There is no way to that address: look at routes, and at the address itself.",
    "connect_failed": "The connection could not be made: the log of the daemon and `proxyd check --online` may say more.",
    "upstream_closed": "The server closed the connection: it crashed, was restarted, or its keep-alive time is shorter than `pool.idle`.",
    "upstream_reset": "The server reset the connection: it crashed, was restarted, or a device between has forgotten the connection.",
    "first_byte_timeout": "The server was too slow: look at it, or raise `timeout.first_byte` of the route.",
    "read_timeout": "The server paused within its answer: look at it, or raise `timeout.between_bytes` of the route.",
    "write_timeout": "The server did not take the request: look at it, or at the network between.",
    "try_timeout": "The server was too slow for one try: look at it, or raise `timeout.per_try` of the route.",
    "total_timeout": "All tries together took too long: look at the servers, or raise `timeout.total` of the route.",
    "upstream_head_malformed": _PROTOCOL,
    "upstream_head_too_large": "The head of the server's answer is too large: often a cookie or a debug field has grown.",
    "upstream_framing": _PROTOCOL,
    "upstream_truncated": "The answer ended too early: the server crashed within it, or says a wrong Content-Length.",
    "upstream_chunk": _PROTOCOL,
    "upgrade_unexpected": _PROTOCOL,
    "server_down": "The flow was closed because `on_down: close` is set and its server was taken out; clients connect anew.",
}

_WORDS: Mapping[str, str] = {str(facts["sentence"]): word for word, facts in faults().items()}


def advice(sentence: str) -> str:
    """What to do about the fault that a record's `why` tells; "" where nothing is known of it."""
    return ADVICE.get(_WORDS.get(sentence, ""), "")
