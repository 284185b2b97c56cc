"""Compiling a route's filters (see steps.pxd)."""
from libc.stdlib cimport calloc, free
from proxyd_ext.auth.verdict cimport Verdicts
from proxyd_ext.filter.cors cimport Cors
from proxyd_ext.filter.country cimport Countries
from proxyd_ext.filter.hooks cimport Hooks
from proxyd_ext.filter.key cimport limit_key_compile
from proxyd_ext.filter.rules cimport (
    FILTER_ACCESS, FILTER_AUTH, FILTER_BAN, FILTER_CORS, FILTER_HEADERS, FILTER_INFLIGHT, FILTER_PLAN, FILTER_PYTHON, FILTER_RATE,
    FILTER_REQUEST, LIGHT_CLIENT, LIGHT_NOT, LIGHT_REQUEST, SOURCE_BASIC, SOURCE_BEARER, SOURCE_COOKIE, SOURCE_FIELDS, SOURCE_HEADER,
    SOURCE_QUERY, TELL_ALWAYS, TELL_NEVER,
    TELL_REFUSED,
)
from proxyd_ext.filter.state cimport STEPS_MAX, TAKEN_MAX, VERDICTS_MAX
from proxyd_ext.http1.head cimport METHOD_OTHER, method_of
from proxyd_ext.limit.ban cimport Bans
from proxyd_ext.limit.inflight cimport Inflight
from proxyd_ext.limit.rate cimport RateLimit
from proxyd_ext.snapshot.networks cimport networks_compile
from proxyd_ext.snapshot.text cimport keep_text, keep_texts

from proxyd_ext.filter.cors import dropped
from proxyd_ext.filter.period import PERIODS
from proxyd_ext.snapshot.fields import FieldEdits
from proxyd_ext.snapshot.spec import (
    AccessFilter, AuthFilter, BanFilter, CorsFilter, HeadersFilter, InflightFilter, LimitKeyPart, PlanFilter, PythonFilter,
    RateLimitFilter, RequestFilter,
)

LINES_MAX = 16384         # what a route adds to a head is composed with it
_SOURCES = {"bearer": SOURCE_BEARER, "basic": SOURCE_BASIC, "header": SOURCE_HEADER, "query": SOURCE_QUERY, "cookie": SOURCE_COOKIE,
            "fields": SOURCE_FIELDS}
_TELLS = {"none": TELL_NEVER, "refused": TELL_REFUSED, "always": TELL_ALWAYS}


cdef class RouteSteps:
    def __cinit__(self, filters):
        self._keep = list(filters)
        self._request, self._response, self._auths = FieldEdits(), FieldEdits(), {}
        self.room = len(filters) + sum(isinstance(spec, AuthFilter | CorsFilter) for spec in filters)
        if self.room > STEPS_MAX:
            raise ValueError(f"a route has at most {STEPS_MAX} filters")
        limits = sum(isinstance(spec, RateLimitFilter | PlanFilter) for spec in filters)
        if limits > TAKEN_MAX or sum(isinstance(spec, InflightFilter) for spec in filters) > TAKEN_MAX:
            raise ValueError(f"a route has at most {TAKEN_MAX} limits of a kind")
        if sum(isinstance(spec, AuthFilter) for spec in filters) > VERDICTS_MAX:
            raise ValueError(f"a route has at most {VERDICTS_MAX} auth policies")
        self.steps = <FilterStep*>calloc(self.room + 1, sizeof(FilterStep))
        if self.steps == NULL:
            raise MemoryError
        for spec in filters:
            self._compile(spec)
        self.light = self._lightness()

    def __dealloc__(self):
        cdef FilterStep* step
        cdef int i
        if self.steps == NULL:
            return
        for i in range(self.count):
            step = &self.steps[i]
            if step.kind == FILTER_ACCESS:
                free(step.rule.access.networks)
                free(step.rule.access.allowed)
                free(step.rule.access.denied)
            elif step.kind == FILTER_REQUEST:
                free(step.rule.request.others)
            elif step.kind == FILTER_AUTH:
                free(step.rule.auth.fields)
            elif step.kind == FILTER_PLAN:
                free(step.rule.plans)
        free(self.steps)

    cdef int _lightness(self):
        cdef const FilterStep* step
        cdef int i, light = LIGHT_CLIENT
        for i in range(self.count):
            step = &self.steps[i]
            if step.kind == FILTER_ACCESS:
                light = LIGHT_REQUEST
            elif step.kind == FILTER_RATE and not step.rule.limit.dry_run and step.rule.limit.tell != TELL_ALWAYS:
                light = light if step.rule.limit.key.client else LIGHT_REQUEST
            elif step.kind != FILTER_HEADERS:
                return LIGHT_NOT
        return light

    cdef FilterStep* _new(self, int kind, str policy) except NULL:
        cdef FilterStep* step = &self.steps[self.count]
        step.kind = kind
        step.policy = keep_text(self._keep, policy)
        self.count += 1
        return step

    cdef Slice _lines(self, value) except *:
        """Field lines that are composed into heads."""
        if len(value) > LINES_MAX:
            raise ValueError(f"the fields that a route sets have more than {LINES_MAX} bytes")
        return keep_text(self._keep, value)

    cdef int _compile(self, spec) except -1:
        cdef FilterStep* step
        cdef Cors cors
        if isinstance(spec, HeadersFilter):
            self._headers("", spec.request_remove, spec.request_set, spec.request_add,
                          spec.response_remove, spec.response_set, spec.response_add)
        elif isinstance(spec, AccessFilter):
            self._access(spec, &self._new(FILTER_ACCESS, spec.policy).rule.access)
        elif isinstance(spec, BanFilter):
            self.stateful = True
            step = self._new(FILTER_BAN, spec.policy)
            step.rule.ban.table = (<Bans?>spec.bans).table
            part = LimitKeyPart("client.ip", ipv4_bits=spec.ipv4_bits, ipv6_bits=spec.ipv6_bits)
            limit_key_compile((part,), 0, self._keep, &step.rule.ban.key)
        elif isinstance(spec, CorsFilter):
            self.stateful = True
            cors = Cors(spec)
            self._keep.append(cors)
            self._new(FILTER_CORS, spec.policy).rule.cors = cors.rule
            # What the policy says it says alone: beside a server's own word browsers would take neither.
            self._headers(spec.policy, (), b"", b"", dropped(), b"", b"")
        elif isinstance(spec, RequestFilter):
            self.stateful = True
            self._request_rule(spec, &self._new(FILTER_REQUEST, spec.policy).rule.request)
        elif isinstance(spec, RateLimitFilter | InflightFilter):
            self.stateful = True
            kind = FILTER_RATE if isinstance(spec, RateLimitFilter) else FILTER_INFLIGHT
            self._limit(spec, &self._new(kind, spec.policy).rule.limit)
        elif isinstance(spec, AuthFilter):
            self.stateful = True
            self._auths[self.count] = spec.policy
            self._auth(spec, &self._new(FILTER_AUTH, spec.policy).rule.auth)
            if spec.hide and spec.source in ("bearer", "basic", "header"):
                self._headers(spec.policy, (spec.name if spec.source == "header" else "authorization",), b"", b"", (), b"", b"")
        elif isinstance(spec, PlanFilter):
            self.stateful = True
            step = self._new(FILTER_PLAN, spec.policy)
            step.rule.plans = self._plans(spec.plans)
            step.plan_count = len(spec.plans)
            step.auth_step = self._auth_step(spec.policy)
        elif isinstance(spec, PythonFilter):
            self.stateful = self.hears_responses = True
            if spec.timeout_ms < 1:
                raise ValueError("a filter has some time")
            step = self._new(FILTER_PYTHON, spec.policy)
            step.rule.python.hooks = (<Hooks?>spec.hooks).data
            step.rule.python.timeout_ms = spec.timeout_ms
            step.rule.python.fail_open = spec.fail_open
        else:
            raise ValueError(f"unknown filter {spec!r}")
        return 0

    def _auth_step(self, policy: str) -> int:
        """The step of the auth policy that a PlanFilter belongs to."""
        cdef int i
        for i in range(self.count):
            if self.steps[i].kind == FILTER_AUTH and self._auths[i] == policy:
                return i
        raise ValueError(f"the plans of `{policy}` stand before its auth filter, or without one")

    cdef int _headers(self, str policy, remove, set_lines, add_lines, response_remove, response_set, response_add) except -1:
        cdef FilterStep* step = self._new(FILTER_HEADERS, policy)
        self._request.step(remove, set_lines, add_lines)
        self._response.step(response_remove, response_set, response_add)
        step.rule.headers.request_lines = self._lines(self._request.lines)
        step.rule.headers.request_drop = self._lines(self._request.drop)
        step.rule.headers.response_lines = self._lines(self._response.lines)
        step.rule.headers.response_drop = self._lines(self._response.drop)
        return 0

    cdef int _access(self, spec, AccessRule* out) except -1:
        out.networks = networks_compile(spec.allow, spec.deny, &out.network_count)
        out.default_allow = spec.default_allow
        if spec.countries is not None:
            self._keep.append(spec.countries)
            out.countries = (<Countries?>spec.countries).data
        out.allowed = self._countries(spec.allow_countries, &out.allowed_count)
        out.denied = self._countries(spec.deny_countries, &out.denied_count)
        return 0

    cdef uint16_t* _countries(self, codes, int* count) except? NULL:
        cdef uint16_t* out = <uint16_t*>calloc(len(codes) + 1, sizeof(uint16_t))
        if out == NULL:
            raise MemoryError
        for code in sorted(codes):
            first, second = code.encode()
            out[count[0]] = first << 8 | second
            count[0] += 1
        return out

    cdef int _request_rule(self, spec, RequestRule* out) except -1:
        cdef Slice token
        out.others = <Slice*>calloc(len(spec.methods) + 1, sizeof(Slice))
        if out.others == NULL:
            raise MemoryError
        for method in sorted(spec.methods):
            token = keep_text(self._keep, method)
            if method_of(token) == METHOD_OTHER:
                out.others[out.other_count] = token
                out.other_count += 1
            else:
                out.methods |= <unsigned int>1 << method_of(token)
        out.body_size = spec.body_size
        if spec.methods:
            out.allow = self._lines(f"Allow: {', '.join(sorted(spec.methods))}\r\n".encode())
        return 0

    cdef int _limit(self, spec, LimitRule* out) except -1:
        if not 400 <= spec.status <= 599:
            raise ValueError(f"{spec.status} refuses nothing")
        out.status = spec.status
        out.dry_run = spec.dry_run
        if isinstance(spec, RateLimitFilter):
            out.rate = (<RateLimit?>spec.limit).table
            out.tell = _TELLS[spec.headers]
            out.quota = spec.quota
            out.window_s = spec.window_s
            out.name = keep_text(self._keep, _quoted(spec.policy))
            limit_key_compile(spec.key, spec.salt, self._keep, &out.key)
        else:
            out.inflight = (<Inflight?>spec.table).table
            out.most = spec.max
            limit_key_compile(spec.key, 0, self._keep, &out.key)
        return 0

    cdef int _auth(self, spec, AuthRule* out) except -1:
        out.verdicts = (<Verdicts?>spec.verdicts).table
        out.source = _SOURCES[spec.source]
        out.name = keep_text(self._keep, spec.name.lower() if spec.source == "header" else spec.name)
        out.fields = keep_texts(self._keep, [name.lower() for name in spec.fields])
        out.field_count = len(spec.fields)
        out.per_target = spec.per_target
        out.challenge = self._lines(spec.challenge)
        out.optional = spec.optional
        out.timeout_ms = spec.timeout_ms
        if not 1 <= spec.timeout_ms or len(spec.fields) > 32:
            raise ValueError("an auth policy has some time, and looks at 32 fields at most")
        return 0

    cdef PlanRule* _plans(self, plans) except NULL:
        cdef PlanRule* out = <PlanRule*>calloc(len(plans) + 1, sizeof(PlanRule))
        cdef int i
        if out == NULL:
            raise MemoryError
        for i, plan in enumerate(plans):
            if plan.limit is not None:
                out[i].rate = (<RateLimit?>plan.limit).table
            out[i].quota = plan.quota_requests
            out[i].period = PERIODS[plan.period]
            out[i].policy_quota = plan.policy_quota
            out[i].policy_window_s = plan.policy_window_s
            out[i].name = keep_text(self._keep, _quoted(plan.name))
        return out


def _quoted(name: str) -> str:
    """A name as a string of structured fields (RFC 9651 section 3.3.3)."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in name[:64])
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
