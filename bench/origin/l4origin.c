/* l4origin: the server behind every proxy in the bench's L4 part. It speaks ../load/l4wire.h.
 *
 * As origin.c it does the least: one thread, level-triggered epoll, answers from memory. What is echoed goes back as it comes, without being
 * gathered. On each port there is a UDP socket, too: datagrams are read and answered up to 64 with one call each.
 *
 * usage: l4origin [-a ADDRESS] [-n PORTS]     binds PORTS free ports (TCP and UDP), prints them in one line on stdout, serves until killed
 */
#define _GNU_SOURCE
#include "l4wire.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_MAX = 256 * 1024, BATCH = 64, BIND_TRIES = 100, UDP_ROOM = 4 * 1024 * 1024 };

typedef enum { KIND_LISTENER, KIND_DATAGRAMS, KIND_CONNECTION } kind_t;

typedef struct {
    int fd;
    kind_t kind;
    int epollout;     /* EPOLLOUT is registered instead of EPOLLIN: the client is slower than we are */
    uint16_t port;    /* its own */
    char head[L4_HEAD]; /* of the request that is being read */
    size_t held;      /* bytes in head */
    size_t body_left; /* bytes of the request that are still to come */
    const char *out;  /* what is left of an answer that did not fit the socket */
    size_t out_left;
    char *out_owned;  /* to be freed when out is sent */
    char *in_owned;   /* bytes that were read behind a request whose answer did not fit */
    size_t in_offset, in_left;
} conn_t;

static int ep;
static char *pattern;
static unsigned long long requests, connections, datagrams;

static void die(const char *what) {
    fprintf(stderr, "l4origin: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void conn_free(conn_t *c) {
    close(c->fd);
    free(c->out_owned);
    free(c->in_owned);
    free(c);
}

static void poll_set(conn_t *c, int out) {
    struct epoll_event e = {.events = out ? EPOLLOUT : EPOLLIN, .data.ptr = c};
    c->epollout = out;
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

/* Sends bytes that stay (the pattern), or else are copied if they do not fit. Returns -1 when the connection is dead. */
static int out_send(conn_t *c, const char *bytes, size_t length, int stays) {
    ssize_t n = send(c->fd, bytes, length, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return -1;
    if (n < 0) n = 0;
    if ((size_t)n == length) return 0;
    c->out = bytes + n;
    c->out_left = length - (size_t)n;
    if (!stays) {
        if (!(c->out_owned = malloc(c->out_left))) die("malloc");
        memcpy(c->out_owned, c->out, c->out_left);
        c->out = c->out_owned;
    }
    poll_set(c, 1);
    return 0;
}

static uint16_t port_of(const struct sockaddr_in *a) { return ntohs(a->sin_port); }

/* The answer to a whole request that is no echo. Returns -1 when the connection is dead. */
static int request_answer(conn_t *c, const l4_head_t *h) {
    if (h->kind == L4_BULK && h->answer <= L4_ANSWER_MAX) {
        requests++;
        return out_send(c, l4_pattern_of(pattern, h->tag), h->answer, 1);
    }
    if (h->kind == L4_WHO) {
        struct sockaddr_in a;
        socklen_t length = sizeof a;
        if (getpeername(c->fd, (struct sockaddr *)&a, &length) < 0) return -1;
        l4_head_t who = {.kind = L4_WHO, .length = L4_HEAD, .answer = port_of(&a), .tag = c->port};
        return out_send(c, (const char *)&who, sizeof who, 0);
    }
    if (h->kind == L4_STATS) {
        char text[L4_STATS_BYTES + 1];
        int n = snprintf(text, sizeof text, "{\"requests\": %llu, \"connections\": %llu, \"datagrams\": %llu}", requests, connections, datagrams);
        memset(text + n, ' ', sizeof text - (size_t)n);
        return out_send(c, text, L4_STATS_BYTES, 0);
    }
    return -1;
}

/* Sends back what is at `echo`: the last `head` bytes of a head and `body` bytes behind them. Of a head that came in pieces nothing went back
 * yet: its first bytes go out with these. Returns -1 when the connection is dead. */
static int echo_send(conn_t *c, const char *echo, size_t head, size_t body) {
    if (head == 0 || head == L4_HEAD) return out_send(c, echo, head + body, 0);
    char *joined = malloc(L4_HEAD + body);
    if (!joined) die("malloc");
    memcpy(joined, c->head, L4_HEAD);
    memcpy(joined + L4_HEAD, echo + head, body);
    int done = out_send(c, joined, L4_HEAD + body, 0);
    free(joined);
    return done;
}

/* Consumes what it can of [p, p + length); returns how much that was, or -1 when the connection is dead. */
static ssize_t bytes_consume(conn_t *c, const char *p, size_t length) {
    size_t used = 0;
    while (used < length && !c->out_left) {
        const char *echo = p + used;
        size_t fresh = 0; /* bytes of the head that this call has brought */
        l4_head_t h;
        if (c->held < L4_HEAD) {
            fresh = L4_HEAD - c->held < length - used ? L4_HEAD - c->held : length - used;
            memcpy(c->head + c->held, echo, fresh);
            c->held += fresh;
            used += fresh;
            memcpy(&h, c->head, sizeof h);
            if (c->held == L4_HEAD) {
                if (h.length < L4_HEAD) return -1;
                c->body_left = h.length - L4_HEAD;
            }
        } else {
            memcpy(&h, c->head, sizeof h);
        }
        size_t body = 0;
        if (c->held == L4_HEAD) {
            body = c->body_left < length - used ? c->body_left : length - used;
            c->body_left -= body;
            used += body;
        }
        int whole = c->held == L4_HEAD && !c->body_left;
        if (whole && h.kind == L4_ECHO) requests++;
        if (c->held == L4_HEAD && h.kind == L4_ECHO) {
            if (echo_send(c, echo, fresh, body) < 0) return -1;
        } else if (whole && request_answer(c, &h) < 0) {
            return -1;
        }
        if (whole) c->held = 0;
    }
    return (ssize_t)used;
}

static void on_readable(conn_t *c) {
    static char buffer[IN_MAX];
    ssize_t n = recv(c->fd, buffer, IN_MAX, 0);
    if (n < 0 && errno == EAGAIN) return;
    ssize_t used = n > 0 ? bytes_consume(c, buffer, (size_t)n) : -1;
    if (used < 0) {
        conn_free(c);
        return;
    }
    c->in_left = (size_t)(n - used);
    if (!c->in_left) return;
    c->in_offset = 0;
    if (!(c->in_owned = malloc(c->in_left))) die("malloc");
    memcpy(c->in_owned, buffer + used, c->in_left);
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
    c->out_owned = NULL;
    poll_set(c, 0);
    if (!c->in_left) return;
    ssize_t used = bytes_consume(c, c->in_owned + c->in_offset, c->in_left); /* requests that waited */
    if (used < 0) {
        conn_free(c);
        return;
    }
    c->in_offset += (size_t)used;
    c->in_left -= (size_t)used;
    if (c->in_left) return;
    free(c->in_owned);
    c->in_owned = NULL;
}

static void on_accept(conn_t *listener) {
    for (int i = 0; i < 16; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        conn_t *c = calloc(1, sizeof *c);
        if (!c) die("calloc");
        c->fd = fd;
        c->kind = KIND_CONNECTION;
        c->port = listener->port;
        connections++;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0) die("epoll_ctl");
    }
}

static void on_datagrams(conn_t *c) {
    static char bytes[BATCH][L4_DATAGRAM_MAX];
    struct sockaddr_in from[BATCH];
    struct iovec pieces[BATCH];
    struct mmsghdr messages[BATCH];
    for (int i = 0; i < BATCH; i++) {
        pieces[i] = (struct iovec){.iov_base = bytes[i], .iov_len = sizeof bytes[i]};
        messages[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &pieces[i], .msg_iovlen = 1};
    }
    int got = recvmmsg(c->fd, messages, BATCH, 0, NULL), answers = 0;
    for (int i = 0; i < got; i++) {
        l4_head_t h;
        if (messages[i].msg_len < L4_HEAD) continue;
        memcpy(&h, bytes[i], sizeof h);
        if (h.kind == L4_WHO) {
            h.answer = port_of(&from[i]);
            h.tag = c->port;
            memcpy(bytes[i], &h, sizeof h);
        } else if (h.kind == L4_ECHO) {
            datagrams++;
        } else {
            continue;
        }
        pieces[i].iov_len = messages[i].msg_len;
        messages[answers++].msg_hdr = messages[i].msg_hdr;
    }
    for (int sent = 0; sent < answers;) { /* what does not fit is lost, as datagrams are */
        int n = sendmmsg(c->fd, messages + sent, (unsigned)(answers - sent), 0);
        sent += n > 0 ? n : 1;
    }
}

static conn_t *conn_on(int fd, kind_t kind, uint16_t port) {
    conn_t *c = calloc(1, sizeof *c);
    if (!c) die("calloc");
    c->fd = fd;
    c->kind = kind;
    c->port = port;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0) die("epoll_ctl");
    return c;
}

/* A port that is free for both. */
static void listeners_new(const char *address) {
    for (int i = 0; i < BIND_TRIES; i++) {
        struct sockaddr_in a = {.sin_family = AF_INET};
        socklen_t length = sizeof a;
        int one = 1, room = UDP_ROOM;
        if (inet_pton(AF_INET, address, &a.sin_addr) != 1) die("not an IPv4 address");
        int tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (tcp < 0 || udp < 0) die("socket");
        setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* what is accepted has it, too */
        if (setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0) setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
        if (bind(tcp, (struct sockaddr *)&a, sizeof a) < 0 || listen(tcp, 4096) < 0) die("listen");
        if (getsockname(tcp, (struct sockaddr *)&a, &length) < 0) die("getsockname");
        if (bind(udp, (struct sockaddr *)&a, sizeof a) == 0) {
            printf("%d ", port_of(&a));
            conn_on(tcp, KIND_LISTENER, port_of(&a));
            conn_on(udp, KIND_DATAGRAMS, port_of(&a));
            return;
        }
        close(tcp);
        close(udp);
    }
    die("no port is free for both TCP and UDP");
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
    if (!(pattern = l4_pattern_new())) die("malloc");
    if ((ep = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
    for (int i = 0; i < ports; i++) listeners_new(address);
    printf("\n");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(ep, events, 256, -1);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < n; i++) {
            conn_t *c = events[i].data.ptr;
            if (c->kind == KIND_LISTENER)
                on_accept(c);
            else if (c->kind == KIND_DATAGRAMS)
                on_datagrams(c);
            else if (c->epollout)
                on_writable(c);
            else
                on_readable(c);
        }
    }
}
