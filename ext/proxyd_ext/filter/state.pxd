"""What the filters of a route know of one exchange: what they look at, what they have taken and must give back, and what they want said.

The caller fills the first part before each run of the chain. The rest is the filters'; it lives as long as the exchange (filter/chain:
filter_begin, filter_end). For routes whose steps keep nothing it stands on the stack.
"""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uint8_t
from proxyd_ext.auth.verdict cimport ConsumerData, VerdictData
from proxyd_ext.core.address cimport Address
from proxyd_ext.core.buffer cimport Buffer, BufferPool
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.filter.hooks cimport HooksData
from proxyd_ext.http1.head cimport Head
from proxyd_ext.limit.ban cimport BanTable
from proxyd_ext.limit.inflight cimport InflightTable
from proxyd_ext.limit.rate cimport RateTaken


cdef enum:
    STEPS_MAX = 32            # of a route; more are refused when it is compiled
    TAKEN_MAX = 16            # rate limits, and limits of requests in flight, of a route
    VERDICTS_MAX = 4          # auth steps of a route

    NOTE_PASSED = 0           # what steps decided, for the log and for counters; those of rates as RATE_*
    NOTE_DELAYED = 1
    NOTE_REFUSED = 2
    NOTE_DELAYED_DRY = 3
    NOTE_REFUSED_DRY = 4
    NOTE_ALLOWED = 5          # auth
    NOTE_DENIED = 6
    NOTE_ANONYMOUS = 7        # optional auth, no credential
    NOTE_CHANGED = 8          # python
    NOTE_REPLIED = 9
    NOTE_FAILED_OPEN = 10
    NOTE_FAILED = 11
    NOTE_PREFLIGHT = 12
    NOTE_COUNT = 13


ctypedef struct FilterNote:
    uint8_t step
    uint8_t what              # NOTE_*


ctypedef struct InflightHeld:
    InflightTable* table
    uint64_t hash


cdef struct FilterChange:     # what a `python` filter changes in a request; texts behind it, in one block
    FilterChange* next
    Slice lines               # field lines
    Slice drop                # names of fields that are not passed on, as HeadersRule.request_drop
    Slice path                # data NULL: as it is
    Slice query               # the same
    bint has_query


cdef struct FilterState:
    # ---- set by the caller ----
    const Head* head
    const Address* client
    Slice host
    Slice path
    Slice query
    Slice route
    Slice listener
    int64_t now_us            # the engine's clock
    int64_t wall_us
    int engine
    uint64_t lot              # random, for samples
    BufferPool* buffers
    uint8_t* scratch          # CHAIN_SCRATCH bytes, for this run only
    # ---- the chain's place ----
    int at                    # the next step
    int64_t hold_until_us     # the latest time to which a limit holds the request back; 0: none does
    bint delayed              # it has been waited
    VerdictData* answered     # of the control plane, held, for the step that asked; NULL: none
    bint failed               # the control plane had no answer for it
    bint resumed              # the `python` step has been answered
    bint changed              # with changes
    # ---- what the step at `at` asks (CHAIN_WAIT) ----
    uint64_t digest_high
    uint64_t digest_low
    Slice credential          # in the client's head or in scratch
    int64_t timeout_ms
    # ---- taken ----
    int taken_count
    RateTaken[TAKEN_MAX] taken
    int held_count
    InflightHeld[TAKEN_MAX] held
    BanTable* bans            # where refusals are counted; NULL: nowhere
    uint64_t ban_hash
    int verdict_count
    VerdictData* verdicts[VERDICTS_MAX]     # held
    uint8_t[VERDICTS_MAX] verdict_step      # of which step each is
    int charged_count
    ConsumerData* charged[VERDICTS_MAX]     # of quotas; kept alive by their verdicts
    uint64_t[VERDICTS_MAX] charged_period
    FilterChange* changes     # the latest first
    uint64_t body_most        # bytes that the body may have; 0: any
    # ---- said ----
    Slice request_lines       # of the steps that change fields, the sum so far: part of the snapshot
    Slice request_drop
    Slice response_lines
    Slice response_drop
    Buffer* told              # field lines for the answer that are of this request alone; NULL: none
    Buffer* sent              # field lines for the server, and names of fields that it does not get, of this request alone; NULL: none
    uint16_t status           # of a refusal, in place of the fault's; 0: that
    Slice body                # of a refusal; data NULL: that of the fault
    int note_count
    FilterNote[STEPS_MAX] notes
