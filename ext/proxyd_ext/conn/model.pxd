"""The objects of the connection layer: what one engine owns (Context), a client's connection, an origin's connection, and the exchange
between them.

They refer to one another, so they are declared in one place; the functions that act on each live in the file of its name.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from proxyd_ext.balance.heap cimport Tried
from proxyd_ext.balance.pool cimport MirrorCounts, PoolData, UpstreamData, Waiter
from proxyd_ext.balance.server cimport ServerData, ServerLocal
from proxyd_ext.cache.alarm cimport Alarm
from proxyd_ext.cache.freshness cimport RequestFacts
from proxyd_ext.cache.memory cimport StoreData
from proxyd_ext.cache.object cimport Base, ChainReader, Fetch, KEY_MAX, FetchWaiter, Object, VARIANT_MAX
from proxyd_ext.cache.ranges cimport ByteRange, RANGES_MAX
from proxyd_ext.core.address cimport Address
from proxyd_ext.core.buffer cimport Buffer, BufferPool
from proxyd_ext.core.clock cimport Clock
from proxyd_ext.core.events cimport EventNode, EventQueue
from proxyd_ext.core.hash cimport Random
from proxyd_ext.core.slab cimport Slab
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.core.timer cimport Timer, Timers
from proxyd_ext.filter.chain cimport CHAIN_SCRATCH
from proxyd_ext.filter.state cimport FilterState
from proxyd_ext.http1.chunk cimport ChunkDecoder
from proxyd_ext.http1.head cimport Head
from proxyd_ext.io.listener cimport ListenerData, ListenerLocal
from proxyd_ext.io.poller cimport Poller, Splice, Stream, StreamHandler
from proxyd_ext.limit.gate cimport GateWaiter
from proxyd_ext.log.record cimport TRIES_KEPT, TryNote
from proxyd_ext.log.ring cimport LogRing
from proxyd_ext.snapshot.compile cimport (
    CompiledCache, CompiledListener, CompiledMirror, CompiledRoute, CompiledUpstream, SnapshotData, Target,
)


cdef enum:
    CLIENT_IDLE = 0           # between requests; holds no buffer
    CLIENT_HEAD = 1           # a request head has begun to arrive
    CLIENT_BUSY = 2           # an exchange is under way
    CLIENT_CLOSING = 3        # the last answer is being sent
    CLIENT_LINGER = 4         # FIN sent; what still comes is thrown away, so that the answer is not lost to a reset (RFC 9112 §9.6)
    CLIENT_TUNNEL = 5
    CLIENT_PROXY = 6          # its PROXY header has not come yet

    ORIGIN_CONNECTING = 0
    ORIGIN_WAITING = 1        # the request is being sent, or the answer's head awaited
    ORIGIN_BODY = 2           # the answer's body is arriving
    ORIGIN_IDLE = 3           # in the pool
    ORIGIN_TUNNEL = 4

    PATH_SCRATCH = 32768      # normal form of a path; request targets longer than a third of this are refused
    WAITS_KEPT = 64           # of them, kept for questions to the control plane: a full queue must not look like a daemon that is not ready
    WAITS_MAX = 1024          # exchanges of one engine that may wait for the control plane or for one another
    IP_TEXT = 46
    LINES_ROOM = 40960        # field lines of a route, of the cache and cookies together

    EX_UPGRADE = 1 << 0       # the client asked for a WebSocket
    EX_TRUSTED = 1 << 1       # the peer is in client_ip.trust
    EX_IDEMPOTENT = 1 << 2    # may be repeated (RFC 9110 §9.2.2)
    EX_REPLAYABLE = 1 << 3    # everything sent so far still stands in `request`
    EX_REQUEST_DONE = 1 << 4  # the whole request has been taken from the client
    EX_RESPONSE_BEGUN = 1 << 5    # the first byte of a final answer has been given to the client
    EX_CLIENT_CLOSE = 1 << 6  # the client's connection ends with this exchange
    EX_ORIGIN_KEEP = 1 << 7   # the origin's connection may be reused
    EX_OUT_CHUNKED = 1 << 8   # the answer goes out chunked
    EX_REUSED = 1 << 9        # the origin connection had served before
    EX_FRESH = 1 << 10        # use a new origin connection for the next try
    EX_OWN_ANSWER = 1 << 12   # proxyd made the answer
    EX_IN_FLIGHT = 1 << 13    # counted at the member's server
    EX_LAST_REQUEST = 1 << 14   # the client said so (Connection: close, or HTTP/1.0)
    EX_RETRYING = 1 << 15     # counted in the upstream's retries in flight
    EX_PROBE = 1 << 16        # lets a half-open circuit know how it went
    EX_FAILED_OVER = 1 << 17  # the route's failover upstream has taken over
    EX_SET_PIN = 1 << 18      # the answer tells the client its branch of the split
    EX_STICKY_KEY = 1 << 19   # the key chooses the server, whatever the balancer
    EX_HEDGE = 1 << 20        # the try is a second one beside the first
    EX_BEHIND = 1 << 21       # no client waits for it: a stored answer is fetched anew (its client is none of Context.first_client)
    EX_QUIET = 1 << 22        # not recorded: no request of a client
    EX_PLACED = 1 << 23       # holds a place of its route's lane
    EX_SHOWN = 1 << 24        # the server's answer has been shown to a user's filter
    EX_PERSONAL = 1 << 25     # the server is told who asks, by a verdict or by a user's filter: its answer may be for that one alone
    EX_NEW_TRACE = 1 << 26    # `trace_high`, `trace_low` are drawn: the client told no trace
    EX_OF_TRY = EX_ORIGIN_KEEP | EX_REUSED | EX_FRESH | EX_IN_FLIGHT | EX_PROBE | EX_HEDGE    # belong to a try, not to the exchange

    PAUSE_NONE = 0            # what Exchange.pause watches
    PAUSE_BACKOFF = 1         # the next try begins then
    PAUSE_QUEUE = 2           # waiting for a server with room ends then
    PAUSE_HEDGE = 3           # a second try begins then
    PAUSE_BUDGET = 4          # the retry budget is asked again
    PAUSE_FETCH = 5           # waiting for the fetch of another ends then
    PAUSE_TIER = 6            # waiting for the second cache tier ends then
    PAUSE_DELAY = 7           # a rate limit holds the request until then
    PAUSE_ASK = 8             # waiting for the control plane's word, for a step of the filters, ends then
    PAUSE_PLACE = 9           # waiting for a place of the route ends then

    USE_PASS = 0              # what an exchange does with the cache: nothing any more
    USE_LEAD = 1              # fetches for its key; others may wait for it
    USE_ALONE = 2             # fetches, and stores if it can
    USE_WAIT = 3              # waits for the fetch of another
    USE_TIER = 4              # waits for the second tier, as a leader
    USE_SERVE = 5             # is answered by `object`
    USE_TAKE = 7              # its body is the value that is put into `object`
    USE_UNSAFE = 6            # a method that makes what is stored invalid, if it succeeds


cdef struct ClientConn
cdef struct OriginConn
cdef struct Exchange
cdef struct MirrorCopy
cdef struct CacheUse
cdef struct Fill
cdef struct Context


cdef struct ClientCount:      # connections of one client address, over all engines (conn/clients)
    ClientCount* next
    Address address
    int32_t count


cdef struct ClientConn:
    Stream stream             # first: what is buried is the ClientConn
    Timer timer
    Context* context
    ListenerData* listener
    ListenerLocal* local
    Exchange* exchange        # NULL unless busy
    ClientConn* next          # all connections of the engine
    ClientConn* previous
    ClientCount* counted
    size_t scanned            # how far the search for the end of the head came
    int64_t head_us           # when the first byte of the current head came
    uint32_t served           # requests so far
    uint8_t state             # CLIENT_*
    bint closing              # no further request on this connection
    bint ended                # the client sent FIN
    bint quiet                # the client announced its last request
    bint stand_in             # for a client: of an exchange with EX_BEHIND
    uint32_t unsent_mark      # bytes of its last answer that had not left when we last looked
    Address address           # the peer, or what PROXY said
    uint8_t ip_size
    uint8_t[IP_TEXT] ip       # text of the address


cdef struct OriginConn:
    Stream stream             # first
    Timer timer
    Context* context
    ServerData* server
    ServerLocal* local
    Exchange* exchange        # NULL when idle
    OriginConn* next          # in the server's idle list
    OriginConn* previous
    OriginConn* next_all      # all origin connections of the engine
    OriginConn* previous_all
    size_t scanned
    uint64_t progress         # bytes moved when the timer was set
    uint32_t served           # exchanges so far
    uint8_t state             # ORIGIN_*


cdef struct Try:
    # The other try of a hedged exchange: what the exchange holds for its current one.
    OriginConn* origin
    PoolData* pool
    ServerData* server
    int32_t member
    uint32_t flags            # EX_OF_TRY
    uint8_t phase
    int64_t try_us
    int64_t sent_us
    int64_t until_ms
    uint32_t connect_us


cdef struct Exchange:
    Context* context
    ClientConn* client
    OriginConn* origin        # NULL before a connection is taken, and after it is gone
    SnapshotData* snapshot    # counted; stays valid until the exchange ends
    CompiledListener* listener
    CompiledRoute* route      # NULL: none matched
    Target* target            # of the route: the chosen upstream and how to try it; NULL: none
    CompiledUpstream* upstream
    PoolData* pool            # pinned; of the last pick; NULL: none yet
    ServerData* server        # of the last try; kept alive by the pool
    Try rival                 # a hedge that is under way; its origin is NULL when there is none
    int32_t route_number      # index of the route, or of "no route" behind the last
    int32_t member            # of the current try, in the pool; -1: none
    Tried tried
    uint8_t phase             # PHASE_*
    uint8_t method            # METHOD_*
    uint8_t minor             # HTTP/1.minor of the request
    uint8_t attempts          # tries, hedges too
    uint8_t retries           # tries after the first on this upstream
    uint8_t hedges            # second tries beside a first
    uint16_t retry_why        # status or fault that the next try is a retry for; 0: it is none
    uint8_t pausing           # PAUSE_*
    uint8_t request_body      # BODY_*
    uint8_t response_body     # BODY_*
    uint8_t error_form        # WANT_*: how the client likes error bodies
    uint16_t status
    int fault                 # FAULT_*: why proxyd answered, or cut the answer off
    uint32_t flags            # EX_*
    uint64_t id
    # The request as it is sent: log strings, head, and the beginning of the body, in one buffer that lives as long as the exchange.
    Buffer* request
    uint32_t request_start    # offset of the head in the buffer
    Address client_address    # who asked: the peer, or whom a trusted peer names
    Slice request_lines       # field lines to add to the request
    Slice request_drop        # names of its fields that are not passed on
    Slice sent_path           # as the server is sent it; empty: `path`
    Slice request_id          # kept from a trusted peer
    Slice client_ip
    Slice method_text
    Slice host
    Slice path
    Slice query
    Slice user_agent
    Slice referer
    Slice trace_id
    Slice parent_id           # of the client's span
    uint64_t trace_high       # of a trace that begins here
    uint64_t trace_low
    uint8_t traced            # TRACE_*
    uint8_t try_count         # of `tries`
    TryNote[TRIES_KEPT] tries    # those that failed, the first ones
    Slice response_lines      # field lines to add to the answer
    Slice response_drop
    uint64_t request_left     # body bytes still to come (BODY_LENGTH)
    uint64_t response_left
    ChunkDecoder request_chunks
    ChunkDecoder response_chunks
    Buffer* request_trailers  # trailer lines, when a chunked body has some
    Buffer* response_trailers
    Splice splice             # the answer's body, or the request's
    bint splice_is_request
    uint8_t interims          # 1xx answers so far
    uint64_t client_mark      # bytes moved when the client was last checked
    uint64_t bytes_in         # body bytes taken from the client
    uint64_t bytes_out        # bytes given to the client
    uint64_t head_out         # of these: heads, last chunks and trailers, which are no body
    uint64_t key              # hash for the balancer
    int64_t start_us
    int64_t try_us            # when the current try began
    int64_t sent_us           # when the request was given to the origin
    uint32_t connect_us       # T_NONE: no connection was opened
    uint32_t first_byte_us    # of the last try, from the request given to the first byte of the answer; T_NONE: no answer
    int64_t ttfb_us           # from the first byte of the request to the first byte of the answer
    int64_t body_ms           # when the wait for the request body began
    Timer total               # timeout.total
    Timer pause               # see PAUSE_*
    int64_t until_ms          # when the current try must have brought its answer's head; 0: no bound
    int64_t queued_us         # when the wait for room began
    int64_t budget_ms         # until when the retry budget may be waited for
    uint32_t queue_us         # spent waiting for room
    Slice sticky              # value of the client's sticky cookie
    int32_t wait              # slot of conn/wait; -1: none
    FilterState* filtered     # what the route's filters know of it; NULL: they keep nothing
    int answer_step           # the next step that may want to see the server's answer
    uint32_t head_size        # of the client's head, while it stays in the client's buffer for want of a filter's word
    Slice changed_path        # what a filter of the user's wants servers to be asked; data NULL: nothing else
    Slice changed_query
    bint query_changed
    uint16_t refused_status   # of a fault, in place of its own; 0: that
    uint64_t body_most        # bytes that the request's body may have: of the listener and of the route's filters; 0: any
    Slice fault_lines         # field lines of a fault's answer
    Slice fault_body          # data NULL: the fault's own
    CacheUse* cached          # NULL: the cache has no part in it
    uint8_t cache             # CACHE_*: what part it had
    uint32_t cache_age        # seconds: of the stored answer that was sent; T_NONE: none was


cdef struct CacheUse:         # what an exchange does with the cache (conn/cached)
    Alarm alarm               # first: what a wake-up names
    Exchange* exchange        # NULL: it has gone, and a wake-up is still on its way
    Context* context
    CompiledCache* rules      # of the route; NULL for USE_UNSAFE on a route without a cache
    uint8_t state             # USE_*
    uint8_t reason            # STORE_* or REASON_*: why the answer was not stored
    bint conditional          # the server is asked whether `stale` still holds
    bint if_error             # `stale` may be served instead of an error
    bint as_get               # the client asked by HEAD, the server is asked by GET
    bint joined               # `reader` is in the chain of `object`
    bint whole                # a plain answer with the whole body, no part of it
    uint8_t[4] order          # FORM_* that the client likes, the best first, ended by FORM_NONE
    uint32_t version          # of the base, when it was looked at
    uint64_t variant
    RequestFacts facts
    Base* base                # pinned; NULL: none
    Object* object            # pinned: what answers; NULL: nothing yet
    Object* stale             # pinned: what may be revalidated, or served in an emergency
    Fetch fetch
    FetchWaiter waiter
    ChainReader reader
    Slice asked               # the client's head, in Exchange.request: for the values that an answer's Vary names
    Slice scheme              # of the URL: the listener's, or what a trusted peer says
    Slice authority           # of the URL, lower case: as `asked`
    uint64_t left             # bytes of the stored body still to be sent
    uint64_t skip             # bytes in front of them, while a part is being sent
    ByteRange[RANGES_MAX] ranges    # parts to send
    int range_count
    int part                  # the next one; -1: no several parts


cdef struct Fill:             # an answer's body on its way into the cache (conn/fill)
    Alarm alarm               # first
    Context* context
    Fill* next                # all of the engine
    Fill* previous
    SnapshotData* snapshot    # counted
    StoreData* store
    CompiledUpstream* upstream
    PoolData* pool            # pinned
    ServerData* server        # kept alive by the pool
    OriginConn* origin
    Object* object            # pinned
    uint8_t body              # BODY_*
    bint keep                 # the connection may be used again
    bint over                 # its memory waits for a last wake-up only
    uint64_t left             # bytes still to come (BODY_LENGTH)
    uint64_t most             # bytes that are stored at most
    ChunkDecoder chunks
    Timer timer
    int64_t between_ms        # pause of the server that is waited out


cdef struct MirrorCopy:       # a request on its way to a mirror (conn/mirror)
    Context* context
    MirrorCopy* next          # among the new copies, or all under way
    MirrorCopy* previous
    SnapshotData* snapshot    # counted
    CompiledMirror* mirror
    MirrorCounts* counts      # of this engine, at the mirror's upstream
    PoolData* pool            # pinned; NULL: not picked yet
    ServerData* server        # kept alive by the pool; NULL: none chosen yet
    OriginConn* origin        # NULL: none yet
    uint64_t key              # hash for the balancer
    bint by_key               # the key chooses the server, whatever the balancer
    Buffer* request           # taken over from the exchange; NULL when the kernel has all of it
    uint32_t request_start    # offset of the head in the buffer
    bint to_head              # the request is a HEAD: its answer has no body
    bint reused               # the connection had served before
    bint heard                # bytes of an answer have come
    bint keep                 # the server will keep the connection
    uint8_t body              # BODY_* of the answer
    uint8_t interims          # 1xx answers so far
    uint64_t left             # bytes of the answer still to come (BODY_LENGTH)
    uint64_t taken            # bytes of the answer's body thrown away
    ChunkDecoder chunks
    int64_t begin_us          # when a server was looked for
    int64_t sent_us           # when the request was given to it; 0: not yet
    int64_t due_ms            # when its time is over; TIMER_OFF_MS: no limit
    Timer timer               # that, or the end of the time to connect


cdef struct WaitSlot:
    Exchange* exchange        # NULL: free
    EventNode ask             # tells the control plane
    EventNode wake            # tells the engine that there is an answer, or that what it waits for has happened
    Waiter waiter             # its place in an upstream's queue
    UpstreamData* upstream    # whose queue; NULL: it waits for something else
    GateWaiter place          # its place in the queue for a place of its route
    Context* context          # of its engine
    void* question            # WaitQuestion* of conn/wait, for the control plane; NULL: none, or taken
    void* answer              # Answer* of conn/wait, from any thread; NULL: none
    uint32_t generation       # grows with each use, so that a late answer is recognised
    int32_t next_free


cdef struct Context:
    Poller poller
    Timers timers
    BufferPool buffers
    Clock clock
    Random random
    Slab clients
    Slab origins
    Slab exchanges
    Slab copies
    Slab uses
    Slab fills
    Slab filters
    Fill* first_fill
    ClientConn* first_behind  # stand-ins for clients of exchanges that nobody waits for
    int64_t uses_waiting      # uses that have gone but for a wake-up
    EventQueue* events
    LogRing* log              # NULL: no access records
    SnapshotData* snapshot    # the current one; NULL before the first
    ClientConn* first_client
    OriginConn* first_origin
    MirrorCopy* first_copy    # those under way
    MirrorCopy* new_copies    # of exchanges that ended in this turn, oldest first
    MirrorCopy* last_new_copy
    bint copies_off           # no more copies
    void* l4                  # L4* of l4/model: the engine's flows
    int64_t flow_count        # of TCP and of UDP
    StreamHandler on_client   # these six are set by conn/dispatch: who hears streams and timers
    StreamHandler on_origin
    void (*on_client_timer)(void*) noexcept nogil
    void (*on_origin_timer)(void*) noexcept nogil
    void (*on_total_timeout)(void*) noexcept nogil
    void (*on_pause)(void*) noexcept nogil
    WaitSlot* waits
    int32_t wait_free         # first free slot, -1: none
    int32_t waits_free        # free slots
    EventQueue wakeups        # the wake-ups door
    uint64_t waits_refused
    uint64_t waits_late
    int64_t client_count
    int64_t exchange_count
    int64_t date_s            # the second that `date` shows
    int engine                # index
    bint draining
    uint32_t via_size
    uint8_t[32] via           # our pseudonym in Via
    uint8_t[32] date          # IMF-fixdate
    Head head                 # the head that is being looked at; nothing of it is kept over a turn
    uint8_t[PATH_SCRATCH] path
    uint8_t[PATH_SCRATCH] sent_path   # a rewritten one
    Head asked                # the request of an answer that is looked at
    uint8_t[KEY_MAX] key      # of the cache
    uint8_t[VARIANT_MAX] variant
    uint8_t[LINES_ROOM] lines  # field lines that are added to a head
    uint8_t[CHAIN_SCRATCH] scratch   # of the filters, within one run


# Room for the timers of everything that may be alive: connections, two of an exchange, copies, flows.
cdef inline int32_t context_timers_needed(const Context* context) noexcept nogil:
    return <int32_t>(2 * (context.clients.live + context.origins.live + context.copies.live + context.fills.live)
                     + 3 * context.exchanges.live + context.flow_count + 16)
