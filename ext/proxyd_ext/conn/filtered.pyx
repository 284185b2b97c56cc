"""An exchange and the filters of its route (see filtered.pxd)."""
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memcpy, strlen
from proxyd_ext.conn.answer cimport REQUEST_ID_MAX, write_request_id
from proxyd_ext.conn.model cimport Context, EX_PERSONAL, WAITS_KEPT
from proxyd_ext.conn.wait cimport WaitQuestion, question_ask, question_new
from proxyd_ext.core.buffer cimport Buffer, buffer_class, buffer_free, buffer_new
from proxyd_ext.core.fault cimport FAULT_FILTER_FAILED, FAULT_MEMORY, FAULT_NONE
from proxyd_ext.core.shim cimport PXD_LIKELY, load_int
from proxyd_ext.core.slab cimport slab_free, slab_new
from proxyd_ext.core.slice cimport Slice, slice_of
from proxyd_ext.filter.chain cimport (
    CHAIN_ASK_AUTH, CHAIN_CONTINUE, Stop, chain_go_on, chain_run, filter_begin, filter_end, filter_join, filter_note, filter_told,
    filter_user, names_have,
)
from proxyd_ext.filter.hooks cimport (
    HOOK_FAILING, HOOK_RESPONSE, HOOKED_CHANGED, HOOKED_CLOSED, HOOKED_FAILED, HOOKED_OPEN, HOOKED_REPLIED, HOOKED_REQUEST,
    HOOKED_RESPONSE, HOOKED_TIMEOUT, hooks_count,
)
from proxyd_ext.filter.key cimport plain_host
from proxyd_ext.filter.light cimport light_clients, light_looking
from proxyd_ext.filter.rules cimport FILTER_AUTH, FILTER_PYTHON, LIGHT_CLIENT, LIGHT_NOT, FilterStep, PythonRule
from proxyd_ext.filter.state cimport (
    FilterState, NOTE_ALLOWED, NOTE_ANONYMOUS, NOTE_CHANGED, NOTE_COUNT, NOTE_DELAYED, NOTE_DELAYED_DRY, NOTE_DENIED, NOTE_FAILED,
    NOTE_FAILED_OPEN, NOTE_PASSED, NOTE_PREFLIGHT, NOTE_REFUSED, NOTE_REFUSED_DRY, NOTE_REPLIED, TAKEN_MAX,
)
from proxyd_ext.http1.rewrite cimport write_decimal, write_status_line
from proxyd_ext.limit.rate cimport RATE_SAMPLE, RateTaken
from proxyd_ext.snapshot.compile cimport CONSULT_DECIDE, CONSULT_FILTER, CONSULT_FILTER_ANSWER

cdef const char* _words[NOTE_COUNT]
_words[NOTE_PASSED] = b"passed"
_words[NOTE_DELAYED] = b"delayed"
_words[NOTE_REFUSED] = b"refused"
_words[NOTE_DELAYED_DRY] = b"delayed_dry_run"
_words[NOTE_REFUSED_DRY] = b"refused_dry_run"
_words[NOTE_ALLOWED] = b"allowed"
_words[NOTE_DENIED] = b"denied"
_words[NOTE_ANONYMOUS] = b"anonymous"
_words[NOTE_CHANGED] = b"changed"
_words[NOTE_REPLIED] = b"replied"
_words[NOTE_FAILED_OPEN] = b"failed_open"
_words[NOTE_FAILED] = b"failed"
_words[NOTE_PREFLIGHT] = b"preflight"


# ---- running ----

cdef void _look(Exchange* exchange, FilterState* state, const Head* head) noexcept nogil:
    cdef Context* context = exchange.context
    state.head = head
    state.client = &exchange.client_address
    state.host = exchange.host
    state.path = exchange.path
    state.query = exchange.query
    state.route = exchange.route.name
    state.listener = exchange.client.listener.name
    state.now_us = context.clock.now_us
    state.wall_us = context.clock.wall_us
    state.engine = context.engine
    state.lot = exchange.id
    state.buffers = &context.buffers
    state.scratch = context.scratch


cdef bint _new(Exchange* exchange) noexcept nogil:
    exchange.filtered = <FilterState*>slab_new(&exchange.context.filters)
    if exchange.filtered == NULL:
        return False
    filter_begin(exchange.filtered)
    exchange.filtered.buffers = &exchange.context.buffers
    return True


cdef inline int _passed(Exchange* exchange, const Stop* stop) noexcept nogil:
    if stop.headers != NULL:
        exchange.request_lines = stop.headers.request_lines
        exchange.request_drop = stop.headers.request_drop
        exchange.response_lines = stop.headers.response_lines
        exchange.response_drop = stop.headers.response_drop
    return CHAIN_CONTINUE


cdef int _light_looking(Exchange* exchange, Head* head) noexcept nogil:
    cdef FilterState looked
    cdef RateTaken[TAKEN_MAX] taken
    cdef Stop stop
    cdef bint sample = exchange.id % RATE_SAMPLE == 0
    _look(exchange, &looked, head)
    looked.verdict_count = 0
    if not light_looking(exchange.route.steps, exchange.route.step_count, &looked, sample, taken, &stop):
        return _run_on(exchange, head, taken, &stop)
    return _passed(exchange, &stop)


cdef inline int _light_clients(Exchange* exchange, Head* head) noexcept nogil:
    cdef RateTaken[TAKEN_MAX] taken
    cdef Stop stop
    if not light_clients(
        exchange.route.steps, exchange.route.step_count, &exchange.client_address, exchange.context.clock.now_us, exchange.context.engine,
        taken, &stop,
    ):
        return _run_on(exchange, head, taken, &stop)
    return _passed(exchange, &stop)


cdef int filtered_run(Exchange* exchange, Head* head) noexcept nogil:
    if exchange.filtered != NULL or exchange.route.light == LIGHT_NOT:
        return _run_on(exchange, head, NULL, NULL)
    if PXD_LIKELY(exchange.route.light == LIGHT_CLIENT and exchange.id % RATE_SAMPLE != 0):
        return _light_clients(exchange, head)
    return _light_looking(exchange, head)


cdef int _run_on(Exchange* exchange, Head* head, const RateTaken* taken, const Stop* stop) noexcept nogil:
    """With a state, from where a light run stopped, or from where the state stands (stop NULL)."""
    cdef FilterState* state
    cdef FilterChange* change
    cdef int result
    if exchange.filtered == NULL and not _new(exchange):
        return -FAULT_MEMORY
    state = exchange.filtered
    _look(exchange, state, head)
    if stop != NULL:
        result = chain_go_on(exchange.route.steps, exchange.route.step_count, state, taken, stop)
    else:
        result = chain_run(exchange.route.steps, exchange.route.step_count, state)
    exchange.fault_lines = filter_told(state)
    if result < 0:
        exchange.refused_status = state.status
        exchange.fault_body = state.body
        return result
    if result != CHAIN_CONTINUE:
        return result
    result = filter_join(state)
    if result != FAULT_NONE:
        return -result
    exchange.request_lines = state.request_lines
    exchange.request_drop = state.request_drop
    exchange.response_lines = state.response_lines
    exchange.response_drop = state.response_drop
    exchange.fault_lines = filter_told(state)
    if state.body_most and (exchange.body_most == 0 or state.body_most < exchange.body_most):
        exchange.body_most = state.body_most
    if state.verdict_count > 0 or state.changes != NULL:
        exchange.flags |= EX_PERSONAL
    change = state.changes
    while change != NULL:     # the latest word counts
        if change.path.data != NULL and exchange.changed_path.data == NULL:
            exchange.changed_path = change.path
        if change.has_query and not exchange.query_changed:
            exchange.changed_query = change.query
            exchange.query_changed = True
        change = change.next
    return CHAIN_CONTINUE


cdef void filtered_remember(Exchange* exchange, const FilterState* ran) noexcept nogil:
    cdef int i
    if exchange.context.log == NULL or not _new(exchange):
        return
    exchange.filtered.note_count = ran.note_count
    for i in range(ran.note_count):
        exchange.filtered.notes[i] = ran.notes[i]


cdef void filtered_end(Exchange* exchange) noexcept nogil:
    if exchange.filtered != NULL:
        filter_end(exchange.filtered)
        slab_free(&exchange.context.filters, exchange.filtered)
        exchange.filtered = NULL


cdef bint filtered_begin_behind(Exchange* exchange) noexcept nogil:
    return _new(exchange)


# ---- asking ----

cdef inline uint8_t* _put(uint8_t* out, Slice s, uint8_t end) noexcept nogil:
    if s.size:
        memcpy(out, s.data, s.size)
    out += s.size
    out[0] = end
    return out + 1


cdef inline size_t _fields_room(const Head* head) noexcept nogil:
    return head.size + 2 * <size_t>head.field_count


cdef uint8_t* _put_fields(uint8_t* out, const Head* head) noexcept nogil:
    cdef int i
    for i in range(head.field_count):
        out = _put(out, slice_of(head.base + head.fields[i].name, head.fields[i].name_size), c':')
        out = _put(out, slice_of(head.base + head.fields[i].value, head.fields[i].value_size), c'\n')
    return out


cdef size_t _room(const Exchange* exchange, const Head* head) noexcept nogil:
    return (_fields_room(head) + 64 + exchange.path.size + exchange.query.size + exchange.host.size + exchange.client_ip.size
            + REQUEST_ID_MAX + filter_user(exchange.filtered).size + exchange.listener.scheme.size + 16)


cdef uint8_t* _describe(const Exchange* exchange, Slice method, const Head* head, uint8_t* out) noexcept nogil:
    """The request in lines (engine.pyi). `head`: the request's; NULL where it is not looked at any more."""
    cdef uint8_t[REQUEST_ID_MAX] id
    out = _put(out, method, c' ')
    if exchange.query.data != NULL:
        out = _put(out, exchange.path, c'?')
        out = _put(out, exchange.query, c' ')
    else:
        out = _put(out, exchange.path, c' ')
    out = _put(out, exchange.listener.scheme, c' ')
    out = _put(out, exchange.client_ip, c' ')
    out = _put(out, slice_of(id, write_request_id(exchange, id)), c'\n')
    out += plain_host(exchange.host, out).size
    out[0] = c'\n'
    out += 1
    out = _put(out, filter_user(exchange.filtered), c'\n')
    return _put_fields(out, head) if head != NULL else out


cdef bint filtered_ask(Exchange* exchange, const Head* head, int what) noexcept nogil:
    cdef FilterState* state = exchange.filtered
    cdef const FilterStep* step = &exchange.route.steps[state.at]
    cdef WaitQuestion* question
    cdef uint8_t* text
    cdef size_t extra = state.credential.size if what == CHAIN_ASK_AUTH else 0
    if exchange.context.waits_free <= WAITS_KEPT:
        return False
    question = question_new(CONSULT_DECIDE if what == CHAIN_ASK_AUTH else CONSULT_FILTER, _room(exchange, head) + extra)
    if question == NULL:
        return False
    text = <uint8_t*>(question + 1)
    question.text_size = _describe(exchange, head.method_text, head, text) - text
    if what == CHAIN_ASK_AUTH:
        question.subject = step.rule.auth.verdicts.id
        question.digest_high = state.digest_high
        question.digest_low = state.digest_low
        question.has_variant = True
        question.variant_size = extra
        if extra:
            memcpy(text + question.text_size, state.credential.data, extra)
    else:
        question.subject = step.rule.python.hooks.id
        hooks_count(step.rule.python.hooks, exchange.context.engine, HOOKED_REQUEST)
    return question_ask(exchange, question)


cdef inline const PythonRule* _asked_rule(const Exchange* exchange) noexcept nogil:
    """The filter that the chain waits for; NULL: it waits for something else."""
    cdef const FilterStep* step = &exchange.route.steps[exchange.filtered.at]
    return &step.rule.python if step.kind == FILTER_PYTHON else NULL


cdef bint filtered_wants_verdict(const Exchange* exchange) noexcept nogil:
    return exchange.origin == NULL and exchange.route.steps[exchange.filtered.at].kind == FILTER_AUTH


cdef void filtered_hear_change(Exchange* exchange, FilterChange* change) noexcept nogil:
    cdef const PythonRule* rule = _asked_rule(exchange)
    exchange.filtered.resumed = True
    exchange.filtered.changed = change != NULL
    if change == NULL:
        return
    hooks_count(rule.hooks, exchange.context.engine, HOOKED_CHANGED)
    change.next = exchange.filtered.changes
    exchange.filtered.changes = change


cdef void filtered_hear_nothing(Exchange* exchange, bint in_time) noexcept nogil:
    cdef const PythonRule* rule = _asked_rule(exchange)
    exchange.filtered.failed = True
    if rule != NULL:
        hooks_count(rule.hooks, exchange.context.engine, HOOKED_FAILED if in_time else HOOKED_TIMEOUT)


cdef void filtered_replied(Exchange* exchange) noexcept nogil:
    cdef int step = exchange.answer_step - 1 if exchange.origin != NULL else exchange.filtered.at
    hooks_count(exchange.route.steps[step].rule.python.hooks, exchange.context.engine, HOOKED_REPLIED)
    filter_note(exchange.filtered, step, NOTE_REPLIED)


# ---- a server's answer ----

cdef int filtered_show(Exchange* exchange, const Head* head) noexcept nogil:
    cdef const FilterStep* step
    cdef WaitQuestion* question
    cdef uint8_t* text
    cdef uint8_t* at
    cdef int bits
    while exchange.answer_step < exchange.route.step_count:
        step = &exchange.route.steps[exchange.answer_step]
        exchange.answer_step += 1
        if step.kind != FILTER_PYTHON:
            continue
        bits = load_int(&step.rule.python.hooks.bits)
        if bits & HOOK_RESPONSE == 0:
            continue
        if bits & HOOK_FAILING or exchange.context.waits_free <= WAITS_KEPT:
            if not filtered_show_failed(exchange, True):
                return -FAULT_FILTER_FAILED
            continue
        question = question_new(CONSULT_FILTER_ANSWER, _room(exchange, head) + exchange.method_text.size)
        if question == NULL:
            return -FAULT_MEMORY
        text = <uint8_t*>(question + 1)
        at = _describe(exchange, exchange.method_text, NULL, text)
        at[0] = c'\n'
        at += 1
        at += write_decimal(head.status, at)
        at[0] = c'\n'
        at = _put_fields(at + 1, head)
        question.text_size = at - text
        question.subject = step.rule.python.hooks.id
        exchange.filtered.timeout_ms = step.rule.python.timeout_ms
        hooks_count(step.rule.python.hooks, exchange.context.engine, HOOKED_RESPONSE)
        if question_ask(exchange, question):
            return SHOW_ASKED
        if not filtered_show_failed(exchange, True):
            return -FAULT_FILTER_FAILED
    return SHOW_NONE


cdef bint filtered_show_failed(Exchange* exchange, bint in_time) noexcept nogil:
    cdef int step = exchange.answer_step - 1
    cdef const PythonRule* rule = &exchange.route.steps[step].rule.python
    hooks_count(rule.hooks, exchange.context.engine, HOOKED_FAILED if in_time else HOOKED_TIMEOUT)
    hooks_count(rule.hooks, exchange.context.engine, HOOKED_OPEN if rule.fail_open else HOOKED_CLOSED)
    filter_note(exchange.filtered, step, NOTE_FAILED_OPEN if rule.fail_open else NOTE_FAILED)
    return rule.fail_open


cdef inline bint _frames(int status) noexcept nogil:
    """Whether an answer with this status is framed by its fields: only then may it take the place of another."""
    return status >= 200 and status != 204 and status != 304


cdef bint filtered_change_answer(Exchange* exchange, const Head* head, const FilterChange* change, int status) noexcept nogil:
    cdef Buffer* old = exchange.origin.stream.received
    cdef uint32_t rest = old.end - old.start - head.size
    cdef size_t need = head.size + 4 * <size_t>head.field_count + change.lines.size + rest + 128
    cdef Buffer* new
    cdef uint8_t* out
    cdef Slice name
    cdef int i
    if need > 262144:
        return False
    new = buffer_new(&exchange.context.buffers, buffer_class(need) if need > old.cap else old.size_class)
    if new == NULL:
        return False
    out = new.data
    out += write_status_line(<uint16_t>(status if status and _frames(status) and _frames(head.status) else head.status), out)
    if head.minor == 0:
        new.data[7] = c'0'        # what the version says of the connection stays said
    for i in range(head.field_count):
        name = slice_of(head.base + head.fields[i].name, head.fields[i].name_size)
        if change.drop.size and names_have(change.drop, name):
            continue
        memcpy(out, name.data, name.size)
        out += name.size
        out[0] = c':'
        out[1] = c' '
        out += 2
        memcpy(out, head.base + head.fields[i].value, head.fields[i].value_size)
        out += head.fields[i].value_size
        out[0] = c'\r'
        out[1] = c'\n'
        out += 2
    if change.lines.size:
        memcpy(out, change.lines.data, change.lines.size)
        out += change.lines.size
    out[0] = c'\r'
    out[1] = c'\n'
    out += 2
    memcpy(out, old.data + old.start + head.size, rest)
    new.end = <uint32_t>(out - new.data) + rest
    buffer_free(&exchange.context.buffers, old)
    exchange.origin.stream.received = new
    hooks_count(exchange.route.steps[exchange.answer_step - 1].rule.python.hooks, exchange.context.engine, HOOKED_CHANGED)
    filter_note(exchange.filtered, exchange.answer_step - 1, NOTE_CHANGED)
    return True


# ---- the log ----

cdef int filtered_notes(const Exchange* exchange, uint8_t* out) noexcept nogil:
    cdef const FilterState* state = exchange.filtered
    cdef Slice name
    cdef size_t size
    cdef int i, at = 0
    if state == NULL:
        return 0
    for i in range(state.note_count):
        name = exchange.route.steps[state.notes[i].step].policy
        size = strlen(_words[state.notes[i].what])
        if at + name.size + size + 2 > NOTES_ROOM:
            break
        if at > 0:
            out[at] = c','
            at += 1
        memcpy(out + at, name.data, name.size)
        at += <int>name.size
        out[at] = c':'
        memcpy(out + at + 1, _words[state.notes[i].what], size)
        at += 1 + <int>size
    return at
