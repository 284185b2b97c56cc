# cython: cdivision=True
"""Running the steps of a route (see chain.pxd)."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memchr, memcpy, strlen
from proxyd_ext.filter.credential cimport credential_find
from proxyd_ext.auth.verdict cimport (
    ConsumerData, VERDICT_ALLOWED, VERDICT_ASKED, VERDICT_DENIED, VERDICT_FAILED, VERDICT_MISSING, VerdictData, consumer_charge,
    consumer_give_back, verdict_drop, verdict_find, verdicts_count,
)
from proxyd_ext.core.address cimport Address, network_contains
from proxyd_ext.core.buffer cimport Buffer, buffer_class, buffer_free, buffer_new
from proxyd_ext.core.fault cimport (
    FAULT_AUTH_UNAVAILABLE, FAULT_BANNED, FAULT_BODY_TOO_LARGE, FAULT_CONCURRENCY, FAULT_CREDENTIAL_REFUSED, FAULT_DENIED,
    FAULT_FILTER_FAILED, FAULT_HEAD_REWRITE_TOO_LARGE, FAULT_MEMORY, FAULT_METHOD_REFUSED, FAULT_NONE, FAULT_QUOTA, FAULT_RATE_LIMITED,
    FAULT_UNAUTHENTICATED,
)
from proxyd_ext.core.hash cimport hash_wide
from proxyd_ext.core.shim cimport INVARIANT, load_int
from proxyd_ext.core.slice cimport Slice, ascii_lower, slice_empty, slice_equals, slice_of
from proxyd_ext.filter.cors cimport CORS_PREFLIGHT, cors_ask
from proxyd_ext.filter.country cimport country_find
from proxyd_ext.filter.hooks cimport HOOK_FAILING, HOOK_REQUEST, HOOKED_CLOSED, HOOKED_OPEN, hooks_count
from proxyd_ext.filter.key cimport KEY_TEXT, limit_key, limit_key_text
from proxyd_ext.filter.period cimport period_end_s, period_of
from proxyd_ext.filter.rules cimport (
    AccessRule, AuthRule, BanRule, FILTER_ACCESS, FILTER_AUTH, FILTER_BAN, FILTER_CORS, FILTER_HEADERS, FILTER_INFLIGHT, FILTER_PLAN,
    FILTER_PYTHON, FILTER_RATE, FILTER_REQUEST, HeadersRule, LimitRule, PlanRule, PythonRule, RequestRule, TELL_ALWAYS, TELL_NEVER,
)
from proxyd_ext.filter.state cimport (
    FilterChange, NOTE_ALLOWED, NOTE_ANONYMOUS, NOTE_CHANGED, NOTE_DELAYED, NOTE_DENIED, NOTE_FAILED, NOTE_FAILED_OPEN, NOTE_PREFLIGHT,
    NOTE_REFUSED, NOTE_REFUSED_DRY, STEPS_MAX, VERDICTS_MAX,
)
from proxyd_ext.http1.head cimport BODY_LENGTH, FIELD_OTHER, METHOD_OTHER
from proxyd_ext.http1.names cimport field_bit, field_id
from proxyd_ext.http1.rewrite cimport write_decimal
from proxyd_ext.limit.ban cimport ban_count, ban_left, ban_note
from proxyd_ext.limit.inflight cimport INFLIGHT_TAKEN, inflight_count, inflight_give, inflight_take
from proxyd_ext.limit.rate cimport (
    RATE_DELAYED, RATE_PASSED, RATE_REFUSED, RATE_SAMPLE, RateOutcome, RateTaken, rate_count, rate_give_back, rate_note, rate_take,
    rate_tell,
)

cdef enum:
    SECOND_US = 1000000
    LIMIT_LINES = 512         # two names (snapshot/steps.pyx: each 130 bytes at most), four numbers, and the words between them


# ---- birth and death ----

cdef void filter_begin(FilterState* state) noexcept nogil:
    state.at = 0
    state.hold_until_us = 0
    state.delayed = False
    state.answered = NULL
    state.failed = False
    state.resumed = False
    state.taken_count = 0
    state.held_count = 0
    state.bans = NULL
    state.verdict_count = 0
    state.charged_count = 0
    state.body_most = 0
    state.changes = NULL
    state.request_lines = state.request_drop = slice_empty()
    state.response_lines = state.response_drop = slice_empty()
    state.told = NULL
    state.sent = NULL
    state.status = 0
    state.body = slice_empty()
    state.note_count = 0


cdef void filter_end(FilterState* state) noexcept nogil:
    cdef FilterChange* change
    _give_held(state)
    if state.answered != NULL:
        verdict_drop(state.answered)
        state.answered = NULL
    while state.verdict_count > 0:
        state.verdict_count -= 1
        verdict_drop(state.verdicts[state.verdict_count])
    while state.changes != NULL:
        change = state.changes
        state.changes = change.next
        free(change)
    if state.told != NULL:
        buffer_free(state.buffers, state.told)
        state.told = NULL
    if state.sent != NULL:
        buffer_free(state.buffers, state.sent)
        state.sent = NULL


cdef void _give_held(FilterState* state) noexcept nogil:
    while state.held_count > 0:
        state.held_count -= 1
        inflight_give(state.held[state.held_count].table, state.held[state.held_count].hash)


cdef void _give_back(FilterState* state) noexcept nogil:
    """A later limit refuses: what the earlier ones took was not used."""
    while state.taken_count > 0:
        state.taken_count -= 1
        rate_give_back(&state.taken[state.taken_count], state.now_us)
    while state.charged_count > 0:
        state.charged_count -= 1
        consumer_give_back(state.charged[state.charged_count], state.charged_period[state.charged_count])
    _give_held(state)


# ---- what is said ----

cdef void filter_say(FilterState* state, const void* data, size_t size) noexcept nogil:
    cdef Buffer* told = state.told
    cdef size_t used = 0 if told == NULL else told.end
    if size == 0 or used + size > TOLD_MAX:
        return
    if told == NULL or told.cap - used < size:
        told = buffer_new(state.buffers, buffer_class(used + size))
        if told == NULL:
            return
        told.end = <uint32_t>(_copy(told.data, filter_told(state)) - told.data)
        if state.told != NULL:
            buffer_free(state.buffers, state.told)
        state.told = told
    memcpy(told.data + told.end, data, size)
    told.end += <uint32_t>size


cdef inline void _say_slice(FilterState* state, Slice text) noexcept nogil:
    filter_say(state, text.data, text.size)


cdef inline uint8_t* _copy(uint8_t* out, Slice s) noexcept nogil:
    if s.size:
        memcpy(out, s.data, s.size)
    return out + s.size


cdef inline uint8_t* _text(uint8_t* out, const char* text) noexcept nogil:
    return _copy(out, slice_of(<const uint8_t*>text, strlen(text)))


cdef inline uint8_t* _number(uint8_t* out, uint64_t number) noexcept nogil:
    return out + write_decimal(number, out)


cdef Slice filter_told(const FilterState* state) noexcept nogil:
    return slice_empty() if state.told == NULL else slice_of(state.told.data, state.told.end)


cdef void filter_note(FilterState* state, int step, int what) noexcept nogil:
    if state.note_count < STEPS_MAX:
        state.notes[state.note_count].step = <uint8_t>step
        state.notes[state.note_count].what = <uint8_t>what
        state.note_count += 1


cdef Slice filter_user(const FilterState* state) noexcept nogil:
    cdef int i
    for i in range(state.verdict_count - 1, -1, -1):
        if state.verdicts[i].user.size:
            return state.verdicts[i].user
    return slice_empty()


cdef void _say_retry(FilterState* state, int64_t us) noexcept nogil:
    """Retry-After is in whole seconds (RFC 9110 section 10.2.3): rounded up, so that who obeys is not refused again."""
    cdef uint8_t[48] line
    cdef uint8_t* at = _text(line, b"Retry-After: ")
    at = _text(_number(at, <uint64_t>((us + SECOND_US - 1) // SECOND_US if us > 0 else 1)), b"\r\n")
    filter_say(state, line, at - line)


cdef void _say_limit(FilterState* state, Slice name, uint64_t quota, uint64_t window_s, const RateOutcome* outcome) noexcept nogil:
    """draft-ietf-httpapi-ratelimit-headers-10: `t` is when the whole quota is there again, so that a client which counts on `r` and `t` is
    never refused."""
    cdef uint8_t[LIMIT_LINES] lines
    cdef uint8_t* at = _text(lines, b"RateLimit-Policy: ")
    at = _number(_text(_copy(at, name), b";q="), quota)
    at = _number(_text(at, b";w="), window_s)
    at = _copy(_text(at, b"\r\nRateLimit: "), name)
    at = _number(_text(at, b";r="), <uint64_t>outcome.remaining if outcome.remaining > 0 else 0)
    at = _number(_text(at, b";t="), <uint64_t>((outcome.reset_us + SECOND_US - 1) // SECOND_US if outcome.reset_us > 0 else 0))
    at = _text(at, b"\r\n")
    filter_say(state, lines, at - lines)


cdef int _refuse(FilterState* state, int step, int fault) noexcept nogil:
    """Note it, count it towards a ban, and say so. Who is sent elsewhere by a verdict (to sign in, say) has not been refused."""
    filter_note(state, step, NOTE_DENIED if fault in (FAULT_UNAUTHENTICATED, FAULT_CREDENTIAL_REFUSED) else NOTE_REFUSED)
    if state.bans != NULL and (fault != FAULT_CREDENTIAL_REFUSED or state.status in (401, 403, 429)):
        ban_note(state.bans, state.ban_hash, state.now_us)
    return -fault


# ---- the steps ----

cdef int _ban(const BanRule* rule, FilterState* state, int step) noexcept nogil:
    cdef uint64_t hash = limit_key(&rule.key, state)
    cdef int64_t left
    if hash == 0:
        return CHAIN_CONTINUE
    left = ban_left(rule.table, hash, state.now_us)
    if left > 0:
        ban_count(rule.table, state.engine)
        _say_retry(state, left)
        filter_note(state, step, NOTE_REFUSED)
        return -FAULT_BANNED
    state.bans = rule.table
    state.ban_hash = hash
    return CHAIN_CONTINUE


cdef inline bint _has(const uint16_t* countries, int count, uint16_t country) noexcept nogil:
    cdef int i
    for i in range(count):
        if countries[i] == country:
            return True
    return False


cdef bint access_admits(const AccessRule* rule, const Address* client) noexcept nogil:
    """The longest prefix that contains the client decides; networks stand in that order. Then the country."""
    cdef uint16_t country
    cdef int i
    for i in range(rule.network_count):
        if network_contains(&rule.networks[i], client):
            return rule.networks[i].allow
    if rule.countries != NULL:
        country = country_find(rule.countries, client)
        if country and _has(rule.denied, rule.denied_count, country):
            return False
        if country and _has(rule.allowed, rule.allowed_count, country):
            return True
    return rule.default_allow


cdef int _request(const RequestRule* rule, FilterState* state, int step) noexcept nogil:
    cdef int i
    cdef bint served = rule.methods == 0 and rule.other_count == 0
    if not served and state.head.method != METHOD_OTHER:
        served = rule.methods >> state.head.method & 1
    elif not served:
        for i in range(rule.other_count):
            served = served or slice_equals(rule.others[i], state.head.method_text)
    if not served:
        _say_slice(state, rule.allow)
        filter_note(state, step, NOTE_REFUSED)
        return -FAULT_METHOD_REFUSED
    if rule.body_size and state.head.body == BODY_LENGTH and state.head.content_length > rule.body_size:
        filter_note(state, step, NOTE_REFUSED)
        return -FAULT_BODY_TOO_LARGE
    if rule.body_size and (state.body_most == 0 or rule.body_size < state.body_most):
        state.body_most = rule.body_size          # of a body that comes in chunks nobody knows yet
    return CHAIN_CONTINUE


cdef void chain_sample(const LimitRule* rule, const FilterState* state, uint64_t hash, int decision) noexcept nogil:
    cdef uint8_t[KEY_TEXT] text
    rate_note(rule.rate, hash, slice_of(text, limit_key_text(&rule.key, state, text)), decision == RATE_REFUSED)


cdef int _rate(const LimitRule* rule, FilterState* state, int step) noexcept nogil:
    cdef uint64_t hash = limit_key(&rule.key, state)
    cdef RateOutcome outcome
    cdef int decision
    if hash == 0:
        return CHAIN_CONTINUE
    decision = rate_take(rule.rate, hash, state.now_us, &state.taken[state.taken_count], &outcome)
    return _rate_decided(rule, state, step, hash, decision, &outcome)


cdef int _rate_decided(const LimitRule* rule, FilterState* state, int step, uint64_t hash, int decision,
                       RateOutcome* outcome) noexcept nogil:
    if state.lot % RATE_SAMPLE == 0:
        chain_sample(rule, state, hash, decision)
    if rule.dry_run:
        rate_count(rule.rate, state.engine, decision if decision == RATE_PASSED else decision + 2)
        if decision != RATE_PASSED:
            filter_note(state, step, decision + 2)
        state.taken_count += decision != RATE_REFUSED    # what a later refusal gives back, as it would if this were no trial
        return CHAIN_CONTINUE
    rate_count(rule.rate, state.engine, decision)
    if decision == RATE_REFUSED:
        state.status = rule.status
        _give_back(state)
        _say_retry(state, outcome.retry_us)
        if rule.tell != TELL_NEVER:
            _say_limit(state, rule.name, rule.quota, rule.window_s, outcome)
        return _refuse(state, step, FAULT_RATE_LIMITED)
    state.taken_count += 1
    if decision == RATE_DELAYED:
        filter_note(state, step, NOTE_DELAYED)
        if state.now_us + outcome.delay_us > state.hold_until_us:
            state.hold_until_us = state.now_us + outcome.delay_us
    if rule.tell == TELL_ALWAYS:
        if decision == RATE_PASSED:
            rate_tell(&state.taken[state.taken_count - 1], outcome)
        _say_limit(state, rule.name, rule.quota, rule.window_s, outcome)
    return CHAIN_CONTINUE


cdef int _inflight(const LimitRule* rule, FilterState* state, int step) noexcept nogil:
    cdef uint64_t hash = limit_key(&rule.key, state)
    cdef bint taken
    if hash == 0:
        return CHAIN_CONTINUE
    taken = inflight_take(rule.inflight, hash, rule.most) == INFLIGHT_TAKEN
    inflight_count(rule.inflight, state.engine, not taken, rule.dry_run)
    if taken:
        state.held[state.held_count].table = rule.inflight
        state.held[state.held_count].hash = hash
        state.held_count += 1
        return CHAIN_CONTINUE
    if rule.dry_run:
        filter_note(state, step, NOTE_REFUSED_DRY)
        return CHAIN_CONTINUE
    state.status = rule.status
    _give_back(state)
    _say_retry(state, SECOND_US)
    return _refuse(state, step, FAULT_CONCURRENCY)


cdef int _auth(const AuthRule* rule, FilterState* state, int step) noexcept nogil:
    cdef VerdictData* verdict = state.answered
    cdef bint asked = verdict != NULL
    state.answered = NULL
    if state.failed:
        state.failed = False
        verdicts_count(rule.verdicts, state.engine, VERDICT_FAILED)
        filter_note(state, step, NOTE_FAILED)
        _say_retry(state, SECOND_US)
        return -FAULT_AUTH_UNAVAILABLE
    if verdict == NULL:
        state.credential = credential_find(rule, state)
        if state.credential.data == NULL:
            if rule.optional:
                filter_note(state, step, NOTE_ANONYMOUS)
                return CHAIN_CONTINUE
            verdicts_count(rule.verdicts, state.engine, VERDICT_MISSING)
            _say_slice(state, rule.challenge)
            return _refuse(state, step, FAULT_UNAUTHENTICATED)
        hash_wide(state.credential.data, state.credential.size, &state.digest_high, &state.digest_low)
        verdict = verdict_find(rule.verdicts, state.digest_high, state.digest_low, state.now_us // 1000)
        if verdict == NULL:
            state.timeout_ms = rule.timeout_ms
            return CHAIN_ASK_AUTH
    if asked:
        verdicts_count(rule.verdicts, state.engine, VERDICT_ASKED)
    verdicts_count(rule.verdicts, state.engine, VERDICT_ALLOWED if verdict.allow else VERDICT_DENIED)
    INVARIANT(state.verdict_count < VERDICTS_MAX)
    state.verdict_step[state.verdict_count] = <uint8_t>step
    state.verdicts[state.verdict_count] = verdict      # also of a refusal: what it says is sent from there
    state.verdict_count += 1
    if verdict.allow:
        filter_note(state, step, NOTE_ALLOWED)
        return CHAIN_CONTINUE
    state.status = verdict.status
    _say_slice(state, verdict.head)
    if verdict.body.size:
        state.body = verdict.body
    return _refuse(state, step, FAULT_CREDENTIAL_REFUSED)


cdef inline VerdictData* _verdict_of(const FilterState* state, int step) noexcept nogil:
    """What the auth step of that number was told; NULL: it let the request pass without a credential."""
    cdef int i
    for i in range(state.verdict_count):
        if state.verdict_step[i] == step:
            return state.verdicts[i]
    return NULL


cdef int _plan(const PlanRule* plan, ConsumerData* consumer, FilterState* state, int step) noexcept nogil:
    cdef RateOutcome outcome
    cdef int decision
    cdef uint64_t period, used
    if plan.rate != NULL:
        decision = rate_take(plan.rate, consumer.hash, state.now_us, &state.taken[state.taken_count], &outcome)
        if state.lot % RATE_SAMPLE == 0:
            rate_note(plan.rate, consumer.hash, filter_user(state), decision == RATE_REFUSED)
        rate_count(plan.rate, state.engine, decision)
        if decision == RATE_REFUSED:
            _give_back(state)
            _say_retry(state, outcome.retry_us)
            _say_limit(state, plan.name, plan.policy_quota, plan.policy_window_s, &outcome)
            return _refuse(state, step, FAULT_RATE_LIMITED)
        state.taken_count += 1
    if plan.quota:
        period = period_of(plan.period, state.wall_us // SECOND_US)
        if not consumer_charge(consumer, period, plan.quota, &used):
            _give_back(state)
            _say_retry(state, period_end_s(plan.period, state.wall_us // SECOND_US) * SECOND_US - state.wall_us)
            return _refuse(state, step, FAULT_QUOTA)
        state.charged[state.charged_count] = consumer
        state.charged_period[state.charged_count] = period
        state.charged_count += 1
    return CHAIN_CONTINUE


cdef int _python(const PythonRule* rule, FilterState* state, int step) noexcept nogil:
    cdef int bits = load_int(&rule.hooks.bits)
    if state.resumed:
        state.resumed = False
        if state.changed:
            filter_note(state, step, NOTE_CHANGED)
        return CHAIN_CONTINUE
    if state.failed or bits & HOOK_FAILING:
        state.failed = False
        hooks_count(rule.hooks, state.engine, HOOKED_OPEN if rule.fail_open else HOOKED_CLOSED)
        filter_note(state, step, NOTE_FAILED_OPEN if rule.fail_open else NOTE_FAILED)
        return CHAIN_CONTINUE if rule.fail_open else -FAULT_FILTER_FAILED
    if bits & HOOK_REQUEST == 0:
        return CHAIN_CONTINUE
    state.timeout_ms = rule.timeout_ms
    return CHAIN_ASK_FILTER


cdef inline bint _must_wait(const FilterState* state) noexcept nogil:
    return state.hold_until_us != 0 and state.hold_until_us > state.now_us and not state.delayed      # 0: there may be no clock


cdef inline void _change(FilterState* state, const HeadersRule* rule) noexcept nogil:
    state.request_lines = rule.request_lines
    state.request_drop = rule.request_drop
    state.response_lines = rule.response_lines
    state.response_drop = rule.response_drop


cdef int chain_run(const FilterStep* steps, int count, FilterState* state) noexcept nogil:
    cdef const FilterStep* step
    cdef int result
    cdef uint32_t size
    cdef VerdictData* verdict
    while state.at < count:
        step = &steps[state.at]
        result = CHAIN_CONTINUE
        if step.kind == FILTER_HEADERS:
            _change(state, &step.rule.headers)
        elif step.kind == FILTER_ACCESS:
            if not access_admits(&step.rule.access, state.client):
                result = _refuse(state, state.at, FAULT_DENIED)
        elif step.kind == FILTER_RATE:
            result = _rate(&step.rule.limit, state, state.at)
        elif step.kind == FILTER_INFLIGHT:
            result = _inflight(&step.rule.limit, state, state.at)
        elif step.kind == FILTER_AUTH:
            result = _auth(&step.rule.auth, state, state.at)
        elif step.kind == FILTER_PLAN:
            verdict = _verdict_of(state, step.auth_step)
            if verdict != NULL and 0 <= verdict.plan < step.plan_count and verdict.consumer != NULL:
                result = _plan(&step.rule.plans[verdict.plan], verdict.consumer, state, state.at)
        elif step.kind == FILTER_BAN:
            result = _ban(&step.rule.ban, state, state.at)
        elif step.kind == FILTER_CORS:
            size = 0
            result = cors_ask(step.rule.cors, state.head, state.scratch, &size)
            filter_say(state, state.scratch, size)
            if result == CORS_PREFLIGHT:
                filter_note(state, state.at, NOTE_PREFLIGHT)
                return CHAIN_ANSWER
            result = CHAIN_CONTINUE
        elif step.kind == FILTER_REQUEST:
            result = _request(&step.rule.request, state, state.at)
        else:
            INVARIANT(step.kind == FILTER_PYTHON)
            result = CHAIN_DELAY if _must_wait(state) else _python(&step.rule.python, state, state.at)
        if result != CHAIN_CONTINUE:
            return result
        state.at += 1
    return CHAIN_DELAY if _must_wait(state) else CHAIN_CONTINUE


cdef int chain_go_on(const FilterStep* steps, int count, FilterState* state, const RateTaken* taken, const Stop* stop) noexcept nogil:
    cdef RateOutcome outcome = stop.outcome
    cdef int result
    state.at = stop.at
    state.taken_count = stop.taken
    memcpy(state.taken, taken, (stop.taken + (stop.decision >= 0)) * sizeof(state.taken[0]))
    if stop.headers != NULL:
        _change(state, stop.headers)
    if stop.decision >= 0:
        result = _rate_decided(&steps[stop.at].rule.limit, state, stop.at, stop.hash, stop.decision, &outcome)
        if result != CHAIN_CONTINUE:
            return result
        state.at += 1
    return chain_run(steps, count, state)


# ---- joining ----

cdef int filter_join(FilterState* state) noexcept nogil:
    cdef Buffer* joined
    cdef FilterChange* change
    cdef uint8_t* at
    cdef uint8_t* lines
    cdef size_t size = state.request_lines.size, names = state.request_drop.size
    cdef bint own = False
    cdef int i
    for i in range(state.verdict_count):
        size += state.verdicts[i].lines.size
        own = own or state.verdicts[i].lines.size > 0
    change = state.changes
    while change != NULL:
        size += change.lines.size
        names += change.drop.size
        own = own or change.lines.size > 0 or change.drop.size > 0
        change = change.next
    if own:
        if size > SENT_MAX or names > SENT_MAX:
            return FAULT_HEAD_REWRITE_TOO_LARGE
        state.sent = joined = buffer_new(state.buffers, buffer_class(size + names))
        if joined == NULL:
            return FAULT_MEMORY
        lines = at = _join_changes(state, _copy(joined.data, state.request_drop), False)
        state.request_drop = slice_of(joined.data, at - joined.data)
        at = _copy(at, state.request_lines)
        for i in range(state.verdict_count):
            at = _copy(at, state.verdicts[i].lines)
        at = _join_changes(state, at, True)
        state.request_lines = slice_of(lines, at - lines)
    if state.told == NULL:
        return FAULT_NONE
    if state.told.cap - state.told.end < state.response_lines.size:
        joined = buffer_new(state.buffers, buffer_class(state.told.end + state.response_lines.size))
        if joined == NULL:
            return FAULT_MEMORY
        _copy(joined.data, filter_told(state))
        joined.end = state.told.end
        buffer_free(state.buffers, state.told)
        state.told = joined
    _copy(state.told.data + state.told.end, state.response_lines)
    state.response_lines = slice_of(state.told.data, state.told.end + state.response_lines.size)
    return FAULT_NONE


cdef uint8_t* _join_changes(const FilterState* state, uint8_t* at, bint lines) noexcept nogil:
    """Those of the earlier filter first."""
    cdef FilterChange* order[STEPS_MAX]
    cdef FilterChange* change = state.changes
    cdef int count = 0
    while change != NULL and count < STEPS_MAX:
        order[count] = change
        count += 1
        change = change.next
    while count > 0:
        count -= 1
        at = _copy(at, order[count].lines if lines else order[count].drop)
    return at


# ---- names of fields ----

cdef bint _next_name(Slice* names, Slice* name) noexcept nogil:
    """Cut the first name off."""
    cdef const uint8_t* end
    if names.size == 0:
        return False
    end = <const uint8_t*>memchr(names.data, c'\n', names.size)
    INVARIANT(end != NULL)   # the control plane wrote these names
    name[0] = slice_of(names.data, end - names.data)
    names[0] = slice_of(end + 1, names.size - name.size - 1)
    return True


cdef bint _is_named(Slice field, Slice name) noexcept nogil:
    cdef size_t i
    cdef uint8_t c
    if field.size != name.size:
        return False
    for i in range(field.size):
        c = ascii_lower(field.data[i])
        if c != name.data[i] and not ((c == c'_' or c == c'.') and name.data[i] == c'-'):
            return False
    return True


cdef uint64_t drop_fields(Head* head, Slice names) noexcept nogil:
    cdef Slice name
    cdef uint64_t known = 0
    cdef int i
    while _next_name(&names, &name):
        known |= field_bit(field_id(name.data, name.size))
        for i in range(head.field_count):
            if _is_named(slice_of(head.base + head.fields[i].name, head.fields[i].name_size), name):
                head.fields[i].hop = 1
    return known & ~field_bit(FIELD_OTHER)


cdef bint names_have(Slice names, Slice name) noexcept nogil:
    cdef Slice one
    while _next_name(&names, &one):
        if _is_named(name, one):
            return True
    return False
