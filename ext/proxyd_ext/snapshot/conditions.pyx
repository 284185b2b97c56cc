"""Compiling what a route matches (see conditions.pxd).

A regular expression for the path that begins with ^ and literal text puts its route into the tree as a prefix, so that it is asked only
where it has a chance; any other stands at the root of its host's tree.  A condition on the host leaves the route among those of any host.
"""
from libc.stdlib cimport calloc, free
from proxyd_ext.core.address cimport Network, network_parse
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.http1.head cimport method_of
from proxyd_ext.route.condition cimport (
    ROUTE_MISS_COOKIE, ROUTE_MISS_HEADER, ROUTE_MISS_HOST, ROUTE_MISS_PATH, ROUTE_MISS_QUERY, ROUTE_MISS_SOURCE, TEST_EXACT, TEST_NETWORK,
    TEST_PREFIX, TEST_PRESENT, TEST_REGEX, TEST_SUFFIX, RouteCondition,
)
from proxyd_ext.route.regex cimport Regex
from proxyd_ext.route.table cimport PATH_ANY, PATH_EXACT, PATH_PREFIX
from proxyd_ext.snapshot.text cimport keep_text

_OF = {"header": ROUTE_MISS_HEADER, "query": ROUTE_MISS_QUERY, "cookie": ROUTE_MISS_COOKIE, "source": ROUTE_MISS_SOURCE,
       "path": ROUTE_MISS_PATH, "host": ROUTE_MISS_HOST}
_NAMED = frozenset({"header", "query", "cookie"})
_TESTS = {"present": TEST_PRESENT, "exact": TEST_EXACT, "prefix": TEST_PREFIX, "suffix": TEST_SUFFIX, "regex": TEST_REGEX,
          "network": TEST_NETWORK}
_ANY_METHOD = 0xFFFFFFFF


cdef class RouteMatch:
    def __cinit__(self, spec):
        self._keep = []
        self.expressions = []
        self.host = keep_text(self._keep, spec.host.lower())
        self.path = keep_text(self._keep, spec.path)
        self.path_kind = PATH_ANY if not spec.path else PATH_EXACT if spec.path_exact else PATH_PREFIX
        self.methods = _method_bits(spec.methods)
        self.conditions = <RouteCondition*>calloc(max(len(spec.conditions), 1), sizeof(RouteCondition))
        if self.conditions == NULL:
            raise MemoryError
        for condition in spec.conditions:
            self.count += 1
            try:
                regex = self._compile(condition, &self.conditions[self.count - 1])
            except ValueError as error:
                raise ValueError(f"route {spec.name}: {error}") from error
            if regex is not None and regex.prefix and condition.of == "path" and not condition.negate and self.path_kind == PATH_ANY:
                self.path_kind = PATH_PREFIX
                self.path = _view(regex.prefix)

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            free(<void*>self.conditions[i].networks)
        free(self.conditions)

    cdef object _compile(self, condition, RouteCondition* out):
        """Fill `out`; returns its regular expression, if it has one."""
        cdef Regex regex = None
        if (condition.test == "network") != (condition.of == "source"):
            raise ValueError(f"{condition.of} cannot be tested for {condition.test}")
        if (condition.of in _NAMED) != bool(condition.name) or (condition.test == "present" and condition.of not in _NAMED):
            raise ValueError(f"a condition on {condition.of} with the name {condition.name!r} and the test {condition.test} means nothing")
        out.of = _OF[condition.of]
        out.test = _TESTS[condition.test]
        out.negate = condition.negate
        out.name = keep_text(self._keep, condition.name)
        if condition.test == "regex":
            regex = Regex(condition.value, ignore_case=condition.of == "host")
            self.expressions.append(regex)
            out.regex = &regex.program
        elif condition.test == "network":
            _networks(condition.networks, out)
        else:
            out.value = keep_text(self._keep, condition.value)
        return regex


cdef Slice _view(bytes data):
    return slice_of(<const unsigned char*><const char*>data, len(data))


cdef int _networks(texts, RouteCondition* out) except -1:
    cdef int i
    cdef Network* networks
    if not texts:
        raise ValueError("a condition on source without networks means nothing")
    networks = <Network*>calloc(len(texts), sizeof(Network))
    if networks == NULL:
        raise MemoryError
    out.networks = networks      # freed by who frees the condition, from here on
    out.network_count = len(texts)
    for i, text in enumerate(texts):
        network_parse(text.encode(), &networks[i])
    return 0


def _method_bits(methods) -> int:
    cdef bytes token
    if not methods:
        return _ANY_METHOD
    bits = 0
    for method in methods:
        token = method.encode()
        bits |= 1 << method_of(_view(token))
    return bits
