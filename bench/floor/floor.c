/* floor: what a proxy cannot go below. It issues the system calls of a proxy and parses nothing.
 *
 *   floor relay  -o PORT [-b BYTES]   recv, send, recv, send; one origin connection a client connection; answers may be of any size.
 *                                     -b is the copy buffer (default 64 KiB; 256 KiB is the good choice for big bodies)
 *   floor splice -o PORT              the same, but answers go origin -> pipe -> client without passing user space
 *   floor close  -o PORT              a client connection a request; origin connections are kept in a stack. Answers must fit one recv
 *                                     (the connection is closed after the first one), and get the Connection: close that the client needs
 *   floor answer -s BYTES             recv, send from memory; no origin
 *   floor file   -s BYTES             recv, send of the head, sendfile of the body from memory; no origin
 *
 * relay and splice read nothing of what they pass on, so they are the floor of L4, too; with several -o, connections take turns.
 *
 * All: one thread, level-triggered epoll, non-blocking sockets, no epoll_ctl in steady state, send is tried before it is polled for.
 * Clients and origins are trusted to be the bench's own. Every mode prints the port it listens on, then serves until killed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIPE_BYTES = 1024 * 1024, CLOSE_ROOM = 32, STACK_MAX = 65536, PIPES_MAX = 256, ORIGINS_MAX = 1024 };

typedef enum { MODE_RELAY, MODE_SPLICE, MODE_CLOSE, MODE_ANSWER, MODE_FILE } floor_mode_t;

/* One socket. Two of them, joined by `other`, are a relayed connection. */
typedef struct side {
    int fd;
    int origin;          /* this is the origin's side */
    int paused;          /* not read: what it said last waits for the other side to take it */
    struct side *other;
    char *out;           /* bytes that wait to be sent to this fd, else NULL */
    size_t out_offset, out_length;
    int pipe[2];         /* origin side of MODE_SPLICE */
    size_t piped;        /* bytes in that pipe */
    int dead;            /* closed in this turn; freed when the turn is over, for events may still name it */
    struct side *next_dead;
} side_t;

static floor_mode_t mode = MODE_RELAY;
static int ep, listener, body_file = -1;
static char *buffer;
static size_t buffer_bytes = 64 * 1024, answer_bytes = 64, answer_length, answer_head;
static struct sockaddr_in origin_addresses[ORIGINS_MAX];
static unsigned origin_count, origin_turn;
static side_t *graveyard;
static side_t *idle[STACK_MAX];
static size_t idle_count;
static int pipes[PIPES_MAX][2]; /* empty ones: to make one costs as much as a connection */
static size_t pipe_count;

static void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void poll_set(side_t *s, unsigned events, int op) {
    struct epoll_event e = {.events = events, .data.ptr = s};
    if (epoll_ctl(ep, op, s->fd, &e) < 0) die("epoll_ctl");
}

static void pipe_take(int ends[2]) {
    if (pipe_count) {
        memcpy(ends, pipes[--pipe_count], sizeof pipes[0]);
        return;
    }
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) die("pipe2");
    if (fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES) < 0) die("F_SETPIPE_SZ");
}

static void pipe_give(int ends[2], size_t piped) {
    if (!piped && pipe_count < PIPES_MAX) {
        memcpy(pipes[pipe_count++], ends, sizeof pipes[0]);
        return;
    }
    close(ends[0]);
    close(ends[1]);
}

static side_t *side_new(int fd, int origin) {
    side_t *s = calloc(1, sizeof *s);
    if (!s) die("malloc");
    s->fd = fd;
    s->origin = origin;
    if (origin && mode == MODE_SPLICE) pipe_take(s->pipe);
    return s;
}

static void side_close(side_t *s) {
    if (s->dead) return;
    s->dead = 1;
    close(s->fd);
    if (s->pipe[1]) pipe_give(s->pipe, s->piped);
    free(s->out);
    s->next_dead = graveyard;
    graveyard = s;
    side_t *other = s->other;
    s->other = NULL;
    if (other) side_close(other);
}

/* The origin is on loopback and listening, so a blocking connect returns at once. Only MODE_CLOSE needs one: it sends right behind it. */
static side_t *origin_connect(void) {
    int one = 1, waits = mode == MODE_CLOSE ? 0 : SOCK_NONBLOCK;
    struct sockaddr_in *to = &origin_addresses[origin_turn++ % origin_count];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | waits, 0);
    if (fd < 0) die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)to, sizeof *to) < 0 && errno != EINPROGRESS) die("connect to the origin");
    if (!waits && fcntl(fd, F_SETFL, O_NONBLOCK) < 0) die("fcntl");
    side_t *s = side_new(fd, 1);
    poll_set(s, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_ADD);
    return s;
}

/* Stops reading `from` until `to` can be written again. */
static void pause_reading(side_t *from, side_t *to) {
    from->paused = 1;
    poll_set(from, 0, EPOLL_CTL_MOD);
    poll_set(to, EPOLLIN | EPOLLOUT | EPOLLRDHUP, EPOLL_CTL_MOD);
}

static void resume_reading(side_t *from, side_t *to) {
    from->paused = 0;
    poll_set(from, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_MOD);
    poll_set(to, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_MOD);
}

static void relay_copy(side_t *from) {
    side_t *to = from->other;
    ssize_t n = recv(from->fd, buffer, buffer_bytes, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        side_close(from);
        return;
    }
    ssize_t sent = send(to->fd, buffer, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        side_close(from);
        return;
    }
    if (sent < 0) sent = 0;
    if (sent == n) return;
    to->out_length = (size_t)(n - sent);
    to->out_offset = 0;
    if (!(to->out = malloc(to->out_length))) die("malloc");
    memcpy(to->out, buffer + sent, to->out_length);
    pause_reading(from, to);
}

/* Pipe -> client. Returns 1 when the pipe is empty, 0 when the client is full, -1 when it is gone. */
static int pipe_empty(side_t *from) {
    while (from->piped) {
        ssize_t n = splice(from->pipe[0], NULL, from->other->fd, NULL, from->piped, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0 && errno == EAGAIN) return 0;
        if (n <= 0) return -1;
        from->piped -= (size_t)n;
    }
    return 1;
}

static void relay_splice(side_t *from) {
    ssize_t n = splice(from->fd, NULL, from->pipe[1], NULL, PIPE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        side_close(from);
        return;
    }
    from->piped += (size_t)n;
    int empty = pipe_empty(from);
    if (empty < 0)
        side_close(from);
    else if (!empty)
        pause_reading(from, from->other);
}

static void on_writable(side_t *to) {
    side_t *from = to->other;
    if (from->piped) {
        int empty = pipe_empty(from);
        if (empty < 0)
            side_close(from);
        else if (empty)
            resume_reading(from, to);
        return;
    }
    ssize_t n = send(to->fd, to->out + to->out_offset, to->out_length - to->out_offset, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
        side_close(to);
        return;
    }
    to->out_offset += (size_t)n;
    if (to->out_offset < to->out_length) return;
    free(to->out);
    to->out = NULL;
    resume_reading(from, to);
}

/* As send, from `offset` of the answer on. */
static ssize_t answer_send(int fd, size_t offset) {
    if (mode == MODE_ANSWER) return send(fd, buffer + offset, answer_length - offset, MSG_NOSIGNAL);
    ssize_t head = 0;
    if (offset < answer_head) {
        head = send(fd, buffer + offset, answer_head - offset, MSG_NOSIGNAL | MSG_MORE);
        if (head < (ssize_t)(answer_head - offset)) return head;
        offset = answer_head;
    }
    off_t from = (off_t)(offset - answer_head);
    ssize_t body = sendfile(fd, body_file, &from, answer_length - offset);
    return body < 0 ? (head ? head : -1) : head + body;
}

/* Sends on from out_offset. An answer that is larger than the socket takes at once waits for room, and no request is read meanwhile. */
static void answer_from_memory(side_t *s) {
    static char request[16 * 1024];
    if (!s->paused) {
        ssize_t got = recv(s->fd, request, sizeof request, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            side_close(s);
            return;
        }
    }
    ssize_t n = answer_send(s->fd, s->out_offset);
    if (n < 0 && errno != EAGAIN) {
        side_close(s);
        return;
    }
    s->out_offset += n > 0 ? (size_t)n : 0;
    int waits = s->out_offset < answer_length;
    if (!waits) s->out_offset = 0;
    if (waits != s->paused) poll_set(s, waits ? EPOLLOUT : EPOLLIN | EPOLLRDHUP, EPOLL_CTL_MOD);
    s->paused = waits;
}

/* MODE_CLOSE: the request of a client that was just accepted, or -1 if it has not come yet. */
static int close_request(side_t *client) {
    ssize_t n = recv(client->fd, buffer, buffer_bytes, 0);
    if (n < 0 && errno == EAGAIN) return -1;
    if (n <= 0) {
        side_close(client);
        return 0;
    }
    side_t *origin = idle_count ? idle[--idle_count] : origin_connect();
    origin->other = client;
    client->other = origin;
    if (send(origin->fd, buffer, (size_t)n, MSG_NOSIGNAL) != n) side_close(client);
    return 0;
}

static void close_answer(side_t *origin) {
    static const char field[] = "Connection: close\r\n";
    enum { FIELD = sizeof field - 1 };
    side_t *client = origin->other;
    char *start = buffer + CLOSE_ROOM;
    ssize_t n = recv(origin->fd, start, buffer_bytes - CLOSE_ROOM, 0);
    if (n < 0 && errno == EAGAIN) return;
    char *line_end = n > 0 ? memchr(start, '\n', (size_t)n) : NULL;
    if (!line_end || !client) {
        if (!client)
            die("an idle origin connection spoke or closed");
        side_close(origin);
        return;
    }
    size_t line = (size_t)(line_end + 1 - start);
    memmove(start - FIELD, start, line);
    memcpy(start - FIELD + line, field, FIELD);
    send(client->fd, start - FIELD, (size_t)n + FIELD, MSG_NOSIGNAL);
    client->other = origin->other = NULL;
    side_close(client);
    if (idle_count < STACK_MAX)
        idle[idle_count++] = origin;
    else
        side_close(origin);
}

static void on_accept(void) {
    for (int i = 0; i < 16; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        side_t *client = side_new(fd, 0);
        if (mode == MODE_CLOSE && close_request(client) == 0) continue; /* its request was there already: never polled */
        poll_set(client, EPOLLIN | EPOLLRDHUP, EPOLL_CTL_ADD);
        if (mode == MODE_RELAY || mode == MODE_SPLICE) {
            client->other = origin_connect();
            client->other->other = client;
        }
    }
}

static void on_event(side_t *s, unsigned events) {
    if (s->dead) return;
    if (mode == MODE_ANSWER || mode == MODE_FILE) {
        answer_from_memory(s);
    } else if (mode == MODE_CLOSE) {
        if (s->origin)
            close_answer(s);
        else if (s->other) /* the client left before its answer: the answer would go to the wrong one, so both go */
            side_close(s);
        else
            close_request(s);
    } else {
        if (events & EPOLLOUT) on_writable(s);
        if (s->dead) return;
        if (s->paused) { /* only an error or a hang-up gets here: a paused side is not polled for reading */
            if (events & (EPOLLERR | EPOLLHUP)) side_close(s);
        } else if (events & ~(unsigned)EPOLLOUT) {
            if (mode == MODE_SPLICE && s->origin)
                relay_splice(s);
            else
                relay_copy(s);
        }
    }
}

static void listener_new(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof a;
    int one = 1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0) die("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* what is accepted has it, too */
    if (bind(listener, (struct sockaddr *)&a, sizeof a) < 0 || listen(listener, 4096) < 0) die("listen");
    if (getsockname(listener, (struct sockaddr *)&a, &length) < 0) die("getsockname");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e) < 0) die("epoll_ctl");
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
}

static void answer_build(void) {
    char date[64];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    int n = snprintf(buffer, buffer_bytes,
                     "HTTP/1.1 200 OK\r\nServer: floor\r\nDate: %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", date,
                     answer_bytes);
    answer_head = (size_t)n;
    answer_length = answer_head + answer_bytes;
    if (answer_length > buffer_bytes) die("-s is too big");
    memset(buffer + n, 'a', answer_bytes);
    if (mode == MODE_FILE && ((body_file = memfd_create("body", MFD_CLOEXEC)) < 0 ||
                              write(body_file, buffer + n, answer_bytes) != (ssize_t)answer_bytes))
        die("memfd");
}

int main(int argc, char **argv) {
    static const char *const names[] = {[MODE_RELAY] = "relay", [MODE_SPLICE] = "splice", [MODE_CLOSE] = "close", [MODE_ANSWER] = "answer",
                                        [MODE_FILE] = "file"};
    int port = 0, found = 0;
    for (int m = 0; argc > 1 && m <= MODE_FILE; m++)
        if (strcmp(argv[1], names[m]) == 0) {
            mode = (floor_mode_t)m;
            found = 1;
        }
    optind = 2;
    for (int o; found && (o = getopt(argc, argv, "l:o:b:s:")) != -1;) switch (o) {
            case 'l': port = atoi(optarg); break;
            case 'o':
                if (origin_count == ORIGINS_MAX || !atoi(optarg)) return 2;
                origin_addresses[origin_count++] = (struct sockaddr_in){
                    .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(optarg)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
                break;
            case 'b': buffer_bytes = strtoul(optarg, NULL, 10); break;
            case 's': answer_bytes = strtoul(optarg, NULL, 10); break;
            default: found = 0;
        }
    if (!found || (mode < MODE_ANSWER && !origin_count) || buffer_bytes < 4096) {
        fprintf(stderr, "usage: floor relay|splice|close|answer|file [-l PORT] [-o ORIGIN_PORT]… [-b BUFFER_BYTES] [-s ANSWER_BYTES]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (!(buffer = malloc(buffer_bytes))) die("malloc");
    if (mode >= MODE_ANSWER) answer_build();
    if ((ep = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
    listener_new(port);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(ep, events, 256, -1);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < n; i++) {
            side_t *s = events[i].data.ptr;
            if (s)
                on_event(s, events[i].events);
            else
                on_accept();
        }
        while (graveyard) {
            side_t *s = graveyard;
            graveyard = s->next_dead;
            free(s);
        }
    }
}
