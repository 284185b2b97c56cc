"""What a route's policies are compiled into: one FilterStep each, with a rule of its kind. Immutable; part of the snapshot."""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uint8_t
from proxyd_ext.auth.verdict cimport VerdictTable
from proxyd_ext.core.address cimport Network
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.filter.cors cimport CorsRule
from proxyd_ext.filter.country cimport CountryData
from proxyd_ext.filter.hooks cimport HooksData
from proxyd_ext.filter.key cimport LimitKey
from proxyd_ext.limit.ban cimport BanTable
from proxyd_ext.limit.inflight cimport InflightTable
from proxyd_ext.limit.rate cimport RateTable


cdef enum:
    FILTER_BAN = 0            # in the order in which they act
    FILTER_ACCESS = 1
    FILTER_CORS = 2
    FILTER_REQUEST = 3
    FILTER_RATE = 4
    FILTER_INFLIGHT = 5
    FILTER_AUTH = 6
    FILTER_PLAN = 7
    FILTER_HEADERS = 8
    FILTER_PYTHON = 9
    FILTER_KINDS = 10

    LIGHT_NOT = 0             # a route's steps: some keep something as long as the exchange lives
    LIGHT_CLIENT = 1          # none does while requests pass: limits by the client's address alone, and changes of fields
    LIGHT_REQUEST = 2         # the same with limits by any key, and access rules

    TELL_NEVER = 0            # RateLimit fields in answers
    TELL_REFUSED = 1
    TELL_ALWAYS = 2

    SOURCE_BEARER = 0         # where a credential is
    SOURCE_BASIC = 1
    SOURCE_HEADER = 2
    SOURCE_QUERY = 3
    SOURCE_COOKIE = 4
    SOURCE_FIELDS = 5

    PERIOD_DAY = 0
    PERIOD_WEEK = 1
    PERIOD_MONTH = 2


ctypedef struct BanRule:
    BanTable* table
    LimitKey key


ctypedef struct AccessRule:
    Network* networks         # longest prefix first
    int network_count
    bint default_allow
    const CountryData* countries   # NULL: countries play no part
    uint16_t* allowed         # countries, as country_find tells them
    int allowed_count
    uint16_t* denied
    int denied_count


ctypedef struct RequestRule:
    uint32_t methods          # bits 1 << METHOD_*; 0: any
    Slice* others             # methods that have no METHOD_*
    int other_count
    uint64_t body_size        # 0: no bound
    Slice allow               # field line Allow


ctypedef struct LimitRule:    # FILTER_RATE and FILTER_INFLIGHT
    RateTable* rate
    InflightTable* inflight
    int64_t most              # of FILTER_INFLIGHT
    LimitKey key
    Slice name                # for RateLimit fields: a quoted string
    uint16_t status
    uint8_t tell              # TELL_*
    uint64_t quota            # RateLimit-Policy: so many requests
    uint64_t window_s         # in so many seconds
    bint dry_run


ctypedef struct AuthRule:
    VerdictTable* verdicts
    uint8_t source            # SOURCE_*
    Slice name                # field (lower case), parameter or cookie
    Slice* fields             # of SOURCE_FIELDS, lower case
    int field_count
    bint per_target
    Slice challenge           # field lines of a 401 for want of a credential
    bint optional
    bint hide
    int64_t timeout_ms


ctypedef struct PlanRule:
    RateTable* rate           # NULL: no rate
    uint64_t quota            # 0: no quota
    uint8_t period            # PERIOD_*
    uint64_t policy_quota     # for RateLimit-Policy of the rate
    uint64_t policy_window_s
    Slice name                # a quoted string


ctypedef struct HeadersRule:
    # The sum of this step and all before it (snapshot/fields.py).
    Slice request_lines       # field lines to write
    Slice request_drop        # names of fields not to pass on, in lower case, each with '\n'
    Slice response_lines
    Slice response_drop


ctypedef struct PythonRule:
    HooksData* hooks
    int64_t timeout_ms
    bint fail_open


ctypedef union FilterRule:
    BanRule ban
    AccessRule access
    const CorsRule* cors
    RequestRule request
    LimitRule limit
    AuthRule auth
    PlanRule* plans           # FILTER_PLAN; plan_count of the step
    HeadersRule headers
    PythonRule python


ctypedef struct FilterStep:
    int kind                  # FILTER_*
    int plan_count
    int auth_step             # of FILTER_PLAN: the step whose verdict names the plan
    Slice policy              # its name
    FilterRule rule
