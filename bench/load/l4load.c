/* l4load: clients of l4origin behind a proxy, as wrk is for HTTP. One thread, level-triggered epoll, a closed loop: each flow has at most one
 * request that is not answered.
 *
 *   l4load tcp -p PORT -c FLOWS -m BYTES          requests of BYTES that come back, on connections that stay
 *   l4load tcp -p PORT -c FLOWS -m BYTES -A SIZE  requests of BYTES, answers of SIZE
 *   l4load tcp … -f                               a connection for each request; this side closes it when the answer is there
 *   l4load udp -p PORT -c FLOWS -m BYTES -w MOST  datagrams that come back, a socket a flow, always from the same source ports; at most MOST
 *                                                 of the flows wait at a time, and all have their turn
 * More options: -d SECONDS or -n REQUESTS (when no more are begun) · -h ADDRESS (127.0.0.1) · -V (each byte of large answers is looked at)
 *
 * Every answer is held against what was asked for: small ones whole, of each piece of a large one the first and the last bytes (all with -V).
 * When the time is up no request is begun any more, and those that are under way are waited for: what was asked is what was counted.
 * A connection that fails is not opened again. A datagram without an answer in RESEND_NS is sent again and counted as lost.
 *
 * Prints one line: BENCH and a JSON object.
 */
#define _GNU_SOURCE
#include "histogram.h"
#include "l4wire.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    IN_MAX = 256 * 1024,
    SAMPLE = 64,           /* bytes at both ends of a piece that are looked at */
    WHOLE_BELOW = 4096,    /* answers that are looked at whole */
    SOURCES = 16,          /* addresses that short connections come from: ports in TIME_WAIT are not what is measured */
    UDP_FIRST_PORT = 2000, /* source ports stay the same from run to run, and so do a proxy's flows; on an address that nothing else uses */
    TICK_MS = 20,
};
static const uint64_t SECOND = 1000000000u, ANSWER_NS = 5000000000u, RESEND_NS = 200000000u;

typedef struct {
    int fd;
    int index;
    int busy;       /* a request is under way */
    int connecting; /* its request waits for the connection */
    uint32_t tag;
    size_t got;     /* bytes of the answer */
    uint64_t began, sent;
} flow_t;

static struct {
    unsigned long long connect, read, write, timeout, content;
} errors;
static unsigned long long begun, done, bytes, lost, stale;
static int udp, fresh, thorough, ep, flows_wanted = 64, busy_count;
static size_t message = 64, answer;
static unsigned long long most_requests = ~0ull;
static int window, turn;
static struct sockaddr_in target;
static char *pattern, request[L4_ANSWER_MAX];
static flow_t *flows;
static histogram_t latency;
static uint32_t next_tag;
static uint64_t now, deadline;

static void die(const char *what) {
    fprintf(stderr, "l4load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* Source addresses of this process: 127.66.0.1 and up for short connections, 127.66.1.1 for datagrams. */
static int source_bind(flow_t *f) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    int one = 1;
    if (udp) {
        setsockopt(f->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        a.sin_addr.s_addr = htonl(0x7F420101);
        a.sin_port = htons((uint16_t)(UDP_FIRST_PORT + f->index));
    } else {
        setsockopt(f->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        a.sin_addr.s_addr = htonl(0x7F420001 + (uint32_t)(f->index % SOURCES));
    }
    return bind(f->fd, (struct sockaddr *)&a, sizeof a);
}

static void poll_set(flow_t *f, unsigned events, int op) {
    struct epoll_event e = {.events = events, .data.ptr = f};
    if (epoll_ctl(ep, op, f->fd, &e) < 0) die("epoll_ctl");
}

/* Returns -1 when there is no connection; on loopback it is there at once, else it is waited for with f->connecting set. */
static int flow_open(flow_t *f) {
    int one = 1;
    f->fd = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (f->fd < 0) die("socket");
    if (!udp) setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if ((udp || fresh) && source_bind(f) < 0) die("bind");
    f->connecting = 0;
    if (connect(f->fd, (struct sockaddr *)&target, sizeof target) < 0) {
        if (errno != EINPROGRESS) return -1;
        f->connecting = 1;
    }
    poll_set(f, f->connecting ? EPOLLOUT : EPOLLIN, EPOLL_CTL_ADD);
    return 0;
}

static void flow_close(flow_t *f) {
    if (f->fd >= 0) close(f->fd);
    f->fd = -1;
}

/* For good: the run is invalid with any of these. */
static void flow_fail(flow_t *f, unsigned long long *kind) {
    ++*kind;
    flow_close(f);
    if (f->busy) busy_count--;
    f->busy = 0;
}

/* Sends the flow's request as it stands. A request that does not fit a fresh socket is a fault of the caller's choice of -m. */
static int request_send(flow_t *f) {
    l4_head_t h = {.kind = answer ? L4_BULK : L4_ECHO, .length = (uint32_t)message, .answer = (uint32_t)answer, .tag = f->tag};
    memcpy(request, &h, sizeof h);
    memcpy(request + L4_HEAD, l4_pattern_of(pattern, f->tag), message - L4_HEAD);
    ssize_t n = send(f->fd, request, message, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) return udp ? 0 : 1;
    return n == (ssize_t)message ? 0 : -1;
}

static void request_begin(flow_t *f) {
    f->busy = 1;
    busy_count++;
    begun++;
    f->got = 0;
    f->tag = next_tag++;
    f->began = f->sent = now;
    if (f->fd < 0 && flow_open(f) < 0) {
        flow_fail(f, &errors.connect);
        return;
    }
    int waits = request_send(f); /* a connection on loopback is there when connect returns, whatever it says */
    if (waits < 0 || (waits && !f->connecting)) {
        flow_fail(f, waits < 0 && f->connecting ? &errors.connect : &errors.write);
        return;
    }
    if (f->connecting && !waits) {
        f->connecting = 0;
        poll_set(f, EPOLLIN, EPOLL_CTL_MOD);
    }
}

static int may_begin(void) { return now < deadline && begun < most_requests; }

/* The next flow in turn that rests; with a window the flows take turns. */
static void turn_begin(void) {
    for (int i = 0; i < flows_wanted; i++) {
        flow_t *f = &flows[turn];
        turn = turn + 1 < flows_wanted ? turn + 1 : 0;
        if (!f->busy && (f->fd >= 0 || fresh)) {
            request_begin(f);
            return;
        }
    }
}

static void request_end(flow_t *f) {
    histogram_add(&latency, now - f->began);
    f->busy = 0;
    busy_count--;
    done++;
    if (fresh) flow_close(f);
    if (!may_begin()) return;
    if (window < flows_wanted)
        turn_begin();
    else
        request_begin(f);
}

/* Whether a piece of an echo, that begins at `offset` of it, is what was sent. */
static int echo_matches(const flow_t *f, const char *p, size_t offset, size_t length) {
    l4_head_t h = {.kind = L4_ECHO, .length = (uint32_t)message, .answer = 0, .tag = f->tag};
    if (offset < L4_HEAD) {
        size_t head = L4_HEAD - offset < length ? L4_HEAD - offset : length;
        if (memcmp(p, (const char *)&h + offset, head) != 0) return 0;
        p += head;
        offset += head;
        length -= head;
    }
    return memcmp(p, l4_pattern_of(pattern, f->tag) + offset - L4_HEAD, length) == 0;
}

static int bulk_matches(const flow_t *f, const char *p, size_t offset, size_t length) {
    const char *expected = l4_pattern_of(pattern, f->tag) + offset;
    if (thorough || length <= 2 * SAMPLE || answer < WHOLE_BELOW) return memcmp(p, expected, length) == 0;
    return memcmp(p, expected, SAMPLE) == 0 && memcmp(p + length - SAMPLE, expected + length - SAMPLE, SAMPLE) == 0;
}

static void on_answer(flow_t *f) {
    static char buffer[IN_MAX];
    size_t whole = answer ? answer : message;
    ssize_t n = recv(f->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        flow_fail(f, &errors.read);
        return;
    }
    if (!f->busy || f->got + (size_t)n > whole) {
        flow_fail(f, &errors.content); /* nobody asked for this */
        return;
    }
    int fine = answer ? bulk_matches(f, buffer, f->got, (size_t)n) : echo_matches(f, buffer, f->got, (size_t)n);
    if (!fine) {
        flow_fail(f, &errors.content);
        return;
    }
    bytes += (size_t)n;
    f->got += (size_t)n;
    if (f->got < whole) return;
    now = clock_ns();
    request_end(f);
}

static void on_datagram(flow_t *f) {
    char buffer[L4_DATAGRAM_MAX];
    l4_head_t h;
    ssize_t n = recv(f->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
        flow_fail(f, &errors.read);
        return;
    }
    if (n >= L4_HEAD) memcpy(&h, buffer, sizeof h);
    if (n == (ssize_t)message && h.kind == L4_ECHO && (!f->busy || h.tag != f->tag)) {
        stale++; /* of a request that was sent twice, or of the run before */
        return;
    }
    if (n != (ssize_t)message || !echo_matches(f, buffer, 0, (size_t)n)) {
        flow_fail(f, &errors.content);
        return;
    }
    bytes += (size_t)n;
    now = clock_ns();
    request_end(f);
}

static void on_connected(flow_t *f) {
    int fault = 0;
    socklen_t length = sizeof fault;
    getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &fault, &length);
    if (fault || (f->busy && request_send(f) != 0)) {
        flow_fail(f, fault ? &errors.connect : &errors.write);
        return;
    }
    f->connecting = 0;
    poll_set(f, EPOLLIN, EPOLL_CTL_MOD);
}

static void late_look(void) {
    for (int i = 0; i < flows_wanted; i++) {
        flow_t *f = &flows[i];
        if (!f->busy) continue;
        if (now - f->began > ANSWER_NS) {
            flow_fail(f, &errors.timeout);
        } else if (udp && now - f->sent > RESEND_NS) {
            lost++;
            f->sent = now;
            if (request_send(f) < 0) flow_fail(f, &errors.write);
        }
    }
}

static void loop(void) {
    uint64_t looked = now;
    while (busy_count) {
        struct epoll_event events[256];
        int n = epoll_wait(ep, events, 256, TICK_MS);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        now = clock_ns();
        for (int i = 0; i < n; i++) {
            flow_t *f = events[i].data.ptr;
            if (f->fd < 0) continue;
            if (f->connecting)
                on_connected(f);
            else if (udp)
                on_datagram(f);
            else
                on_answer(f);
        }
        if (now - looked > TICK_MS * 1000000ull) {
            looked = now;
            late_look();
        }
    }
}

static double cpu_us(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void report(uint64_t took) {
    printf("BENCH {\"requests\": %llu, \"duration_us\": %.1f, \"bytes\": %llu, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, "
           "\"p999_us\": %.1f, \"max_us\": %.1f, \"cpu_us\": %.0f, \"stale\": %llu, \"errors\": {\"connect\": %llu, \"read\": %llu, "
           "\"write\": %llu, \"timeout\": %llu, \"content\": %llu, \"lost\": %llu}}\n",
           done, (double)took / 1e3, bytes, (double)histogram_percentile(&latency, 50) / 1e3, (double)histogram_percentile(&latency, 90) / 1e3,
           (double)histogram_percentile(&latency, 99) / 1e3, (double)histogram_percentile(&latency, 99.9) / 1e3, (double)latency.max_ns / 1e3,
           cpu_us(), stale, errors.connect, errors.read, errors.write, errors.timeout, errors.content, lost);
}

static int usage(void) {
    fprintf(stderr, "usage: l4load tcp|udp -p PORT [-h ADDRESS] [-c FLOWS] [-m BYTES] [-A ANSWER_BYTES] [-f] [-w MOST] [-d SECONDS | -n REQUESTS] [-V]\n");
    return 2;
}

int main(int argc, char **argv) {
    double seconds = 0;
    const char *address = "127.0.0.1";
    int port = 0;
    if (argc < 2 || (strcmp(argv[1], "tcp") != 0 && strcmp(argv[1], "udp") != 0)) return usage();
    udp = argv[1][0] == 'u';
    optind = 2;
    for (int o; (o = getopt(argc, argv, "p:h:c:m:A:fw:d:n:V")) != -1;) switch (o) {
            case 'p': port = atoi(optarg); break;
            case 'h': address = optarg; break;
            case 'c': flows_wanted = atoi(optarg); break;
            case 'm': message = strtoul(optarg, NULL, 10); break;
            case 'A': answer = strtoul(optarg, NULL, 10); break;
            case 'f': fresh = 1; break;
            case 'w': window = atoi(optarg); break;
            case 'd': seconds = strtod(optarg, NULL); break;
            case 'n': most_requests = strtoull(optarg, NULL, 10); break;
            case 'V': thorough = 1; break;
            default: return usage();
        }
    if (!window || window > flows_wanted) window = flows_wanted;
    size_t message_max = udp ? L4_DATAGRAM_MAX : 64 * 1024;
    if (port <= 0 || port > 65535 || flows_wanted < 1 || flows_wanted > 30000 || message < L4_HEAD || message > message_max ||
        answer > L4_ANSWER_MAX || (udp && (answer || fresh)) || (seconds <= 0 && most_requests == ~0ull))
        return usage();
    target = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, address, &target.sin_addr) != 1) return usage();
    signal(SIGPIPE, SIG_IGN);
    if (!(pattern = l4_pattern_new()) || !(flows = calloc((size_t)flows_wanted, sizeof *flows))) die("malloc");
    if ((ep = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
    next_tag = (uint32_t)clock_ns() * 2654435761u; /* a late answer of another run has another tag */
    for (int i = 0; i < flows_wanted; i++) {
        flows[i].index = i;
        flows[i].fd = -1;
        if (!fresh && flow_open(&flows[i]) < 0) flow_fail(&flows[i], &errors.connect);
    }
    uint64_t start = now = clock_ns();
    deadline = seconds > 0 ? start + (uint64_t)(seconds * 1e9) : ~0ull;
    for (int i = 0; i < window && may_begin(); i++) turn_begin();
    loop();
    report(now - start);
    return 0;
}
