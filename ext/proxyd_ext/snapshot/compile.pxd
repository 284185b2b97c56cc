"""The immutable compiled config: what an engine reads while it serves. Built once by the control plane, freed when every engine has retired
it.

Slices point into Python bytes objects that the owning `Snapshot` keeps alive.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from proxyd_ext.balance.pool cimport Pool, PoolData, UpstreamData
from proxyd_ext.cache.freshness cimport FreshnessRules
from proxyd_ext.cache.key cimport KeyRecipe
from proxyd_ext.cache.memory cimport StoreData
from proxyd_ext.core.address cimport Address, Network
from proxyd_ext.core.events cimport EventNode
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.core.stats cimport ENGINES_MAX
from proxyd_ext.filter.rules cimport AccessRule, FilterStep
from proxyd_ext.http1.head cimport HeadLimits
from proxyd_ext.http1.template cimport Rewrite, Template, TemplatePart
from proxyd_ext.io.listener cimport ListenerData
from proxyd_ext.limit.gate cimport LaneData
from proxyd_ext.limit.overload cimport OverloadData
from proxyd_ext.route.names cimport ServerNames
from proxyd_ext.route.condition cimport RouteCondition
from proxyd_ext.route.stats cimport RouteStatsData
from proxyd_ext.route.table cimport RouteTable


cdef struct SnapshotData


cdef enum:
    ACTION_PROXY = 0
    ACTION_RESPOND = 1
    ACTION_REDIRECT = 2
    ACTION_CONSULT = 3
    ACTION_ASIDE = 4

    CONSULT_READY = 0
    CONSULT_LIVE = 1
    CONSULT_PURGE = 2
    CONSULT_LOOKUP = 3        # the second cache tier
    CONSULT_DECIDE = 4        # a verdict about a credential
    CONSULT_FILTER = 5        # a user's filter, about a request
    CONSULT_FILTER_ANSWER = 6   # the same about a server's answer

    KEY_CLIENT_IP = 0
    KEY_HOST = 1
    KEY_PATH = 2
    KEY_URI = 3               # path and query
    KEY_HEADER = 4
    KEY_COOKIE = 5
    KEY_QUERY = 6
    KEY_CLIENT_NET = 7        # the first three octets of IPv4, the whole of IPv6, as nginx's ip_hash
    KEY_FLOW = 8              # addresses and ports of both sides

    MODE_HTTP = 0             # what a listener does with connections
    MODE_TCP = 1
    MODE_TLS = 2
    MODE_UDP = 3

    STICKY_NONE = 0
    STICKY_COOKIE = 1
    STICKY_APP_COOKIE = 2
    STICKY_KEY = 3

    SPLIT_NONE = 0
    SPLIT_COOKIE = 1
    SPLIT_HEADER = 2

    HEDGE_NEVER = -1
    HEDGE_PERCENTILE = 0      # after UpstreamData.hedge_ms


ctypedef struct StatusSet:
    uint64_t[10] bits         # statuses 0..639


cdef inline bint status_in(const StatusSet* statuses, uint16_t status) noexcept nogil:
    return status < 640 and statuses.bits[status >> 6] >> (status & 63) & 1


ctypedef struct CompiledUpstream:
    UpstreamData* state       # its current pool is what picks draw from
    PoolData* pool            # the pool that came with this snapshot: which servers belong to it
    Slice name
    int key                   # KEY_*: what a hash balancer, or a sticky key, hashes
    Slice key_name            # field, cookie or parameter name, lower case for fields
    bint keyed                # picks need the key
    int sticky                # STICKY_*
    Slice sticky_name         # of our cookie
    Slice sticky_attributes   # of Set-Cookie, with leading "; "
    Slice sticky_follows      # the server's cookie, for STICKY_APP_COOKIE
    int64_t max_pending
    int64_t queue_ms
    int proxy                 # version of the PROXY header that servers are sent; 0: none
    bint proxy_crc
    bint proxy_unique_id


ctypedef struct CompiledRetry:
    int32_t attempts          # tries after the first
    uint32_t when             # bits FAULT_WHEN_*
    StatusSet statuses
    bint has_statuses
    bint idempotency_key      # a request with Idempotency-Key may be repeated
    int64_t backoff_ms
    int64_t factor_percent
    int64_t backoff_max_ms
    bint jitter
    int64_t retry_after_max_ms
    int64_t budget_percent
    int64_t budget_min


ctypedef struct Target:
    CompiledUpstream* upstream
    uint64_t up_to            # cumulative weight
    int64_t connect_ms
    CompiledRetry retry


ctypedef struct CompiledFailover:
    bint active
    Target target
    bint no_server
    uint32_t when             # bits FAULT_WHEN_*
    StatusSet statuses


ctypedef struct StatusRange:
    uint16_t first            # both ends included
    uint16_t last


ctypedef struct CompiledPage:
    # An error page.
    StatusRange* statuses
    int status_count
    bint intercept            # for answers of servers too
    bint escape               # values are escaped for HTML
    Slice head                # Content-Type
    TemplatePart* parts       # of the body
    int part_count


ctypedef struct CompiledMirror:
    CompiledUpstream* upstream
    uint32_t sample_ppm       # of a million requests
    int64_t connect_ms        # 0: no limit but answer_ms
    int64_t answer_ms         # for a copy in all; 0: no limit
    int64_t in_flight         # copies for this upstream under way, one engine


ctypedef struct CompiledCache:
    StoreData* store
    Slice zone
    KeyRecipe recipe
    FreshnessRules fresh      # negative_s: see `negative`
    int64_t negative_s        # lifetime of negative statuses that tell none; -1: none
    StatusSet negative
    RouteCondition* bypass    # any holds: no cache
    int bypass_count
    Slice* tags               # names of fields, lower case
    int tag_count
    uint64_t max_object       # bytes of a body
    int variants              # per key
    int64_t uncacheable_ms
    int64_t collapse_ms       # 0: never waits for another's fetch
    bint client_directives
    bint share                # a second tier is asked on a miss, and told of what is stored
    int64_t share_ms
    uint8_t[4] encodings      # FORM_* that may be made of stored answers, the best first, ended by FORM_NONE


ctypedef struct CompiledRoute:
    Slice name
    int action                # ACTION_*
    FilterStep* steps
    int step_count
    bint stateful             # some step keeps something for the exchange's life
    int light                 # LIGHT_*
    bint hears_responses      # a user's filter may want to see answers
    bint identifies           # some step finds out who asks
    uint8_t priority          # CLASS_*
    LaneData* lane            # its part in the places of the gate; NULL: nothing bounds it
    CompiledPage* pages       # the first that has the status
    int page_count
    # ACTION_PROXY
    Rewrite* rewrite          # NULL: none
    Target* targets
    int target_count
    int64_t first_byte_ms
    int64_t between_bytes_ms
    int64_t total_ms          # 0: none
    int64_t per_try_ms        # 0: none
    int64_t tunnel_idle_ms
    int split                 # SPLIT_*: what pins a client to a target
    Slice split_name
    Slice split_attributes
    CompiledFailover failover
    int64_t hedge_ms          # HEDGE_*, or the delay
    int hedge_max
    CompiledMirror* mirror    # NULL: none
    CompiledCache* cache      # NULL: none
    # ACTION_RESPOND, ACTION_REDIRECT
    uint16_t status
    Slice head                # field lines: Content-Type and what the config adds
    Slice body
    Template location
    # ACTION_CONSULT
    int consult               # CONSULT_*
    int64_t consult_ms
    # ACTION_ASIDE
    Slice aside_prefix
    uint64_t aside_max        # bytes of a value
    int64_t aside_ttl_ms


ctypedef struct CompiledTable:
    RouteTable* tree
    CompiledRoute* routes
    int count


ctypedef struct CompiledFlowRoute:
    Slice name
    Target* targets
    int target_count          # 0: refused
    Slice* alpn               # the hello must offer one of these; NULL: any
    int alpn_count


ctypedef struct CompiledFlow:
    CompiledFlowRoute* routes
    int route_count
    ServerNames* names        # MODE_TLS: which routes a name may take
    int64_t idle_ms           # 0: none
    int64_t max_age_ms        # 0: none
    int64_t drain_ms          # 0: none
    bint keepalive
    bint needs_local          # somebody asks where the client connected to: a key, or a PROXY header
    int32_t responses         # MODE_UDP: answers that end a flow; 0: none do
    int64_t amplification     # MODE_UDP; 0: any


ctypedef struct CompiledListener:
    SnapshotData* snapshot    # that this is part of
    ListenerData* listener
    int mode                  # MODE_*
    CompiledFlow* flow        # of the modes but MODE_HTTP; NULL: MODE_HTTP
    AccessRule* access        # NULL: anybody
    bint proxied              # connections must begin with a PROXY header, from `proxies`
    Network* proxies
    int proxy_count
    int64_t connections       # 0: no limit
    CompiledTable* table
    RouteStatsData** stats    # one a route, and one more for requests without a route
    HeadLimits limits
    Slice scheme              # "http" or "https"
    Slice client_ip_header    # lower case; empty: none
    Network* trust
    int trust_count
    uint32_t buffer           # bytes kept per direction of a connection
    uint64_t body_size        # 0: no limit
    int64_t header_ms
    int64_t idle_ms
    uint32_t min_body_rate    # bytes a second; 0: off
    int32_t per_client        # 0: no limit
    CompiledPage* pages       # for requests without a route
    int page_count


ctypedef struct SnapshotLocal:
    int64_t users             # exchanges and leaving listeners that use this snapshot on this engine; the engine's own
    bint superseded           # the engine has taken a newer one
    EventNode ack
    EventNode retired


cdef struct SnapshotData:
    uint64_t generation
    uint64_t config           # first 48 bits of the config's hash
    CompiledListener* listeners
    int listener_count
    CompiledTable* tables
    int table_count
    CompiledUpstream* upstreams
    int upstream_count
    StoreData* store          # NULL: nothing is cached
    bint shares               # some of it in a second tier, too
    Network* purge_allow      # whose PURGE requests are obeyed
    int purge_allow_count
    OverloadData* overload    # NULL: nothing is shed
    bint traces               # requests belong to traces, ...
    uint64_t trace_below      # ... and of those that begin here, ids whose first half lies below are exported
    SnapshotLocal[ENGINES_MAX] local


cdef class Snapshot:
    cdef SnapshotData* data
    cdef list _keep           # Python objects that the compiled form points into
    cdef readonly list pools  # Pool of each upstream, in order
    cdef readonly object store    # Cache; None: nothing is cached
    cdef bint in_use          # its pools have been put in use
    cdef readonly str config_hash
    cdef void _free_route(self, CompiledRoute* route) noexcept
    cdef Slice _cookie_part(self, value) except *
    cdef Slice _slice(self, value) except *
    cdef Slice _lines(self, value) except *
    cdef CompiledCache* _compile_cache(self, str route, spec) except? NULL
    cdef CompiledMirror* _compile_mirror(self, str route, spec) except? NULL
    cdef int _compile_route(self, spec, CompiledRoute* out) except -1
    cdef int _compile_target(self, spec, Target* out) except -1
    cdef int _compile_steps(self, spec, CompiledRoute* out) except -1
    cdef int _compile_rewrite(self, spec, CompiledRoute* out) except -1
    cdef CompiledPage* _compile_pages(self, pages, int* count) except? NULL
    cdef int _parts(self, parts, Template* out) except -1
    cdef int _compile_flow(self, spec, CompiledListener* listener) except -1
    cdef int _listener(self, int listener) except -1
