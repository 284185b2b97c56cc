"""Compiling how a route caches (see caching.pxd)."""
from libc.stdlib cimport calloc, free
from libc.stdint cimport int64_t
from proxyd_ext.cache.store cimport Cache
from proxyd_ext.cache.key cimport (
    KEY_AUTHORITY, KEY_COOKIE, KEY_FIELD, KEY_PARAMETERS, KEY_PATH, KEY_QUERY, KEY_SCHEME, KeyPart, KeyRecipe,
)
from proxyd_ext.cache.object cimport FORM_BR, FORM_GZIP, FORM_ZSTD
from proxyd_ext.cache.zone cimport store_learn
from proxyd_ext.snapshot.conditions cimport RouteMatch
from proxyd_ext.snapshot.text cimport keep_text, keep_texts
from proxyd_ext.snapshot.spec import RespondAction, RouteSpec

_PARTS = {"scheme": KEY_SCHEME, "host": KEY_AUTHORITY, "path": KEY_PATH, "query": KEY_QUERY, "header": KEY_FIELD, "cookie": KEY_COOKIE}
_ENCODINGS = {"gzip": FORM_GZIP, "br": FORM_BR, "zstd": FORM_ZSTD}
_OF_URL = frozenset({"scheme", "host", "path", "query"})
_PLAIN = ["scheme", "host", "path", "query"]


cdef class RouteCaching:
    def __cinit__(self, spec, Cache cache):
        cdef CompiledCache* data
        cdef RouteMatch bypass
        cdef int first, last, status
        self._keep = [cache]
        self.data = data = <CompiledCache*>calloc(1, sizeof(CompiledCache))
        if data == NULL:
            raise MemoryError
        data.store = cache.data
        data.zone = keep_text(self._keep, spec.zone)
        self._compile_key(spec.key)
        data.fresh.default_s = spec.default_s
        data.fresh.override_s = spec.override_s
        data.fresh.negative_s = -1
        data.fresh.min_s = spec.min_s
        data.fresh.max_s = spec.max_s
        data.fresh.heuristic_percent = spec.heuristic_percent
        data.fresh.heuristic_max_s = spec.heuristic_max_s
        data.fresh.while_revalidate_s = spec.while_revalidate_s
        data.fresh.if_error_s = spec.if_error_s
        data.fresh.strip_set_cookie = spec.strip_set_cookie
        data.negative_s = spec.negative_s
        for first, last in spec.negative:
            for status in range(max(first, 0), min(last, 639) + 1):
                data.negative.bits[status >> 6] |= <unsigned long long>1 << (status & 63)
        # The conditions of a bypass are compiled as those of a route that nobody asks for.
        bypass = RouteMatch(RouteSpec("bypass", RespondAction(200), conditions=spec.bypass))
        self._keep.append(bypass)
        self._keep += bypass.expressions
        data.bypass = bypass.conditions
        data.bypass_count = bypass.count
        data.tags = keep_texts(self._keep, [name.lower() for name in spec.tags])
        data.tag_count = len(spec.tags)
        data.max_object = spec.max_object
        data.variants = max(1, spec.variants)
        data.uncacheable_ms = <int64_t>spec.uncacheable_s * 1000
        data.collapse_ms = spec.collapse_ms
        data.client_directives = spec.client_directives
        data.share = spec.share
        data.share_ms = spec.share_ms
        if spec.compress is not None:
            for i, encoding in enumerate(spec.compress.encodings[:3]):
                data.encodings[<int>i] = _ENCODINGS[encoding]
        store_learn(data.store, data.zone, &data.recipe)

    def __dealloc__(self):
        cdef int i
        if self.data == NULL:
            return
        for i in range(self.data.recipe.count):
            free(self.data.recipe.parts[i].names)
        free(self.data.recipe.parts)
        free(self.data.tags)
        free(self.data)

    cdef int _compile_key(self, parts) except -1:
        cdef KeyRecipe* recipe = &self.data.recipe
        cdef KeyPart* out
        ordered = [part for part in parts if part.kind in _OF_URL] + [part for part in parts if part.kind not in _OF_URL]
        recipe.parts = <KeyPart*>calloc(len(ordered) + 1, sizeof(KeyPart))
        if recipe.parts == NULL:
            raise MemoryError
        for part in ordered:
            out = &recipe.parts[recipe.count]
            out.kind = KEY_PARAMETERS if part.kind == "query" and part.names else <int>_PARTS[part.kind]
            names = [name.lower() for name in part.names] if part.kind == "header" else list(part.names)
            if part.kind in ("header", "cookie") and len(names) != 1:
                raise ValueError(f"a {part.kind} in a cache key has one name")
            out.names = keep_texts(self._keep, names)
            out.name_count = len(names)
            recipe.count += 1
            recipe.url_count += part.kind in _OF_URL
        recipe.plain = [part.kind for part in ordered] == _PLAIN and not any(part.names for part in ordered)
        return 0
