/* origin: the server behind every proxy in the bench.
 *
 * It must never be what is measured, so it does the least that is still an ordinary HTTP/1.1 server: one thread, level-triggered epoll,
 * answers built beforehand as [head|body] and sent with one call, the Date patched in place once a second. Keep-alive always; a
 * `Connection: close` of the request is not honoured (a proxy tuned for the bench does not send it, and the runner counts connections).
 *
 * The answer is chosen by the LAST segment of the path, so that /svc-0001/64 and /64 are the same and no proxy has to rewrite:
 *   /0 /64 /1k /10k /100k /1m   that many bytes       /post   reads the body, answers "ok\n"
 *   /echo                       the request head      /stats  {"requests": N, "connections": N} since the start, this request left out
 * Below /hit/ (/hit/64) the sized answers say `Cache-Control: max-age=3600`, so that every cache stores them by its ordinary rules.
 * Anything else is a 404. A body in chunks is refused with 501: no contestant should send one, and it must not go unnoticed.
 *
 * usage: origin [-a ADDRESS] [-n PORTS]     binds PORTS free ports, prints them in one line on stdout, serves until killed
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_MAX = 64 * 1024, HEAD_ROOM = 256, DATE_LENGTH = 29 };

typedef struct {
    const char *name;
    size_t size;
    char *bytes; /* head and body, contiguous */
    size_t head, total;
    size_t date; /* where in bytes the Date value stands */
} answer_t;

typedef struct {
    int fd;
    int listening;
    int epollout;      /* EPOLLOUT is registered: the client is slower than we are */
    size_t body_left;  /* request body still to be read before the answer goes out */
    answer_t *after;   /* answer that waits for that body */
    char *in;          /* an unfinished head, else NULL */
    size_t in_length;
    const char *out;   /* what is left of an answer that did not fit the socket */
    size_t out_left;
    char *out_owned;   /* to be freed when out is sent */
} conn_t;

static answer_t answers[] = {
    {.name = "64", .size = 64},         {.name = "10k", .size = 10 * 1024},     {.name = "1m", .size = 1024 * 1024},
    {.name = "0", .size = 0},           {.name = "1k", .size = 1024},           {.name = "100k", .size = 100 * 1024},
    {.name = "post", .size = 3},
};
enum { ANSWERS = sizeof(answers) / sizeof(answers[0]), POST = ANSWERS - 1 };
static answer_t kept[ANSWERS]; /* the same, to be stored by caches */
static answer_t missing = {.name = "missing", .size = 4}; /* 404 */
static answer_t refused = {.name = "refused", .size = 4}; /* 501 */

static int ep;
static unsigned long long requests, connections;
static time_t date_at;

static void die(const char *what) {
    fprintf(stderr, "origin: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void answer_build(answer_t *a, const char *status, const char *fields) {
    a->bytes = malloc(HEAD_ROOM + a->size);
    if (!a->bytes) die("malloc");
    int n = snprintf(a->bytes, HEAD_ROOM,
                     "HTTP/1.1 %s\r\nServer: bench-origin\r\nDate: %*s\r\nContent-Type: application/octet-stream\r\n"
                     "%sContent-Length: %zu\r\n\r\n",
                     status, DATE_LENGTH, "", fields, a->size);
    a->head = (size_t)n;
    a->total = a->head + a->size;
    a->date = (size_t)(strstr(a->bytes, "Date: ") - a->bytes) + 6;
    if (a == &answers[POST] || a == &kept[POST])
        memcpy(a->bytes + a->head, "ok\n", 3);
    else
        for (size_t i = 0; i < a->size; i++) a->bytes[a->head + i] = (char)('a' + i % 26);
}

static void dates_refresh(void) {
    time_t now = time(NULL);
    if (now == date_at) return;
    date_at = now;
    struct tm tm;
    char text[64];
    gmtime_r(&now, &tm);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    for (int i = 0; i < ANSWERS; i++) {
        memcpy(answers[i].bytes + answers[i].date, text, DATE_LENGTH);
        memcpy(kept[i].bytes + kept[i].date, text, DATE_LENGTH);
    }
    memcpy(missing.bytes + missing.date, text, DATE_LENGTH);
    memcpy(refused.bytes + refused.date, text, DATE_LENGTH);
}

static void conn_free(conn_t *c) {
    close(c->fd);
    free(c->in);
    free(c->out_owned);
    free(c);
}

static void poll_set(conn_t *c, int out) {
    struct epoll_event e = {.events = out ? EPOLLOUT : EPOLLIN, .data.ptr = c};
    c->epollout = out;
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

/* Sends bytes; keeps what does not fit and stops reading until it is out. Returns -1 when the connection is dead. */
static int out_send(conn_t *c, const char *bytes, size_t length, char *owned) {
    ssize_t n = send(c->fd, bytes, length, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        free(owned);
        return -1;
    }
    if (n < 0) n = 0;
    if ((size_t)n == length) {
        free(owned);
        return 0;
    }
    c->out = bytes + n;
    c->out_left = length - (size_t)n;
    c->out_owned = owned;
    poll_set(c, 1);
    return 0;
}

static int out_send_text(conn_t *c, const char *body, size_t length) {
    char *bytes = malloc(HEAD_ROOM + length);
    if (!bytes) return -1;
    int n = snprintf(bytes, HEAD_ROOM,
                     "HTTP/1.1 200 OK\r\nServer: bench-origin\r\nDate: %.*s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
                     DATE_LENGTH, answers[0].bytes + answers[0].date, length);
    memcpy(bytes + n, body, length);
    return out_send(c, bytes, (size_t)n + length, bytes);
}

/* Value of a field in a head, or NULL. Only called for requests with a body. */
static const char *field_find(const char *head, size_t length, const char *name) {
    size_t name_length = strlen(name);
    for (const char *p = head, *end = head + length; p && p + name_length < end; p = memchr(p, '\n', (size_t)(end - p))) {
        if (*p == '\n') p++;
        if ((size_t)(end - p) > name_length && p[name_length] == ':' && strncasecmp(p, name, name_length) == 0) return p + name_length + 1;
    }
    return NULL;
}

/* Answers the request whose whole head is [head, head + length). Returns -1 when the connection is dead. */
static int request_answer(conn_t *c, const char *head, size_t length) {
    const char *path = memchr(head, ' ', length);
    const char *path_end = path ? memchr(path + 1, ' ', length - (size_t)(path + 1 - head)) : NULL;
    if (!path_end) return -1;
    const char *query = memchr(path + 1, '?', (size_t)(path_end - path - 1));
    if (query) path_end = query;
    const char *slash = memrchr(path + 1, '/', (size_t)(path_end - path - 1));
    const char *name = slash ? slash + 1 : path + 1;
    size_t name_length = (size_t)(path_end - name);

    answer_t *a = &missing;
    for (int i = 0; i < ANSWERS; i++)
        if (strlen(answers[i].name) == name_length && memcmp(answers[i].name, name, name_length) == 0) {
            a = name - path > 5 && memcmp(name - 5, "/hit/", 5) == 0 ? &kept[i] : &answers[i];
            break;
        }
    if (head[0] == 'H') { /* HEAD */
        requests++;
        return out_send(c, a->bytes, a->head, NULL);
    }
    if (head[0] == 'P') { /* POST, PUT, PATCH */
        const char *value = field_find(head, length, "content-length");
        c->body_left = value ? strtoull(value, NULL, 10) : 0;
        if (field_find(head, length, "transfer-encoding")) a = &refused;
        c->after = a;
        return 0;
    }
    if (a == &missing && name_length == 5 && memcmp(name, "stats", 5) == 0) {
        char text[96];
        int n = snprintf(text, sizeof text, "{\"requests\": %llu, \"connections\": %llu}\n", requests, connections);
        return out_send_text(c, text, (size_t)n);
    }
    requests++;
    if (a == &missing && name_length == 4 && memcmp(name, "echo", 4) == 0) return out_send_text(c, head, length);
    return out_send(c, a->bytes, a->total, NULL);
}

/* Consumes what it can of [p, p + length); returns how much that was, or -1 when the connection is dead. */
static ssize_t bytes_consume(conn_t *c, const char *p, size_t length) {
    size_t used = 0;
    while (used < length || c->after) {
        if (c->out) break; /* answers stay in order: wait until the last one is out */
        if (c->after) {
            size_t take = c->body_left < length - used ? c->body_left : length - used;
            c->body_left -= take;
            used += take;
            if (c->body_left) break;
            answer_t *a = c->after;
            c->after = NULL;
            requests++;
            if (out_send(c, a->bytes, a->total, NULL) < 0) return -1;
            continue;
        }
        const char *end = memmem(p + used, length - used, "\r\n\r\n", 4);
        if (!end) break;
        size_t head = (size_t)(end + 4 - (p + used));
        if (request_answer(c, p + used, head) < 0) return -1;
        used += head;
    }
    return (ssize_t)used;
}

static void on_readable(conn_t *c) {
    static char shared[IN_MAX];
    char *buffer = c->in ? c->in : shared;
    size_t held = c->in ? c->in_length : 0;
    ssize_t n = recv(c->fd, buffer + held, IN_MAX - held, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        conn_free(c);
        return;
    }
    size_t have = held + (size_t)n;
    ssize_t used = bytes_consume(c, buffer, have);
    size_t left = have - (size_t)(used < 0 ? 0 : used);
    if (used < 0 || left == IN_MAX) {
        conn_free(c);
        return;
    }
    if (!left) {
        free(c->in);
        c->in = NULL;
        return;
    }
    if (!c->in && !(c->in = malloc(IN_MAX))) die("malloc");
    memmove(c->in, buffer + used, left);
    c->in_length = left;
}

static void on_writable(conn_t *c) {
    ssize_t n = send(c->fd, c->out, c->out_left, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
        conn_free(c);
        return;
    }
    c->out += n;
    c->out_left -= (size_t)n;
    if (c->out_left) return;
    free(c->out_owned);
    c->out = c->out_owned = NULL;
    poll_set(c, 0);
    if (!c->in) return;
    ssize_t used = bytes_consume(c, c->in, c->in_length); /* pipelined requests that waited */
    if (used < 0) {
        conn_free(c);
        return;
    }
    c->in_length -= (size_t)used;
    memmove(c->in, c->in + used, c->in_length);
}

static void on_accept(int listener) {
    for (int i = 0; i < 16; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conn_t *c = calloc(1, sizeof *c);
        if (!c) die("malloc");
        c->fd = fd;
        connections++;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0) die("epoll_ctl");
    }
}

static void listener_new(const char *address) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t length = sizeof a;
    if (inet_pton(AF_INET, address, &a.sin_addr) != 1) die("not an IPv4 address");
    conn_t *c = calloc(1, sizeof *c);
    if (!c) die("malloc");
    c->listening = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(c->fd, 4096) < 0) die("listen");
    if (getsockname(c->fd, (struct sockaddr *)&a, &length) < 0) die("getsockname");
    printf("%d ", ntohs(a.sin_port));
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e) < 0) die("epoll_ctl");
}

int main(int argc, char **argv) {
    const char *address = "127.0.0.1";
    int ports = 1;
    for (int o; (o = getopt(argc, argv, "a:n:")) != -1;) {
        if (o == 'a')
            address = optarg;
        else if (o == 'n')
            ports = atoi(optarg);
        else
            return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if ((ep = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
    for (int i = 0; i < ANSWERS; i++) {
        kept[i] = answers[i];
        answer_build(&answers[i], "200 OK", "");
        answer_build(&kept[i], "200 OK", "Cache-Control: max-age=3600\r\n");
    }
    answer_build(&missing, "404 Not Found", "");
    answer_build(&refused, "501 Not Implemented", "");
    dates_refresh();
    for (int i = 0; i < ports; i++) listener_new(address);
    printf("\n");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(ep, events, 256, -1);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        dates_refresh();
        for (int i = 0; i < n; i++) {
            conn_t *c = events[i].data.ptr;
            if (c->listening)
                on_accept(c->fd);
            else if (c->epollout)
                on_writable(c);
            else
                on_readable(c);
        }
    }
}
