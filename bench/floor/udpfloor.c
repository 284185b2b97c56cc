/* udpfloor: what a UDP proxy that keeps a connected socket a flow cannot go below. It reads nothing of what it passes on.
 *
 *   udpfloor -l PORT -o PORT [-o PORT …]
 *
 * Datagrams of clients are taken up to 64 with one recvmmsg. The sender's address finds its flow in a hash table, and the datagram leaves by
 * the flow's own socket, which is connected to one of the servers for good; new flows take the servers in turn. Answers wake up their flow's
 * socket; those of one turn of epoll go out with one sendmmsg from the listening socket. One thread, level-triggered. Flows never end: clients
 * are the bench's own, and come again from the same ports. Prints the port it listens on, then serves until killed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, TURN = 256, DATAGRAM_MAX = 2048, TABLE = 65536, FLOWS_MAX = TABLE / 2, ORIGINS_MAX = 1024, ROOM = 4 * 1024 * 1024 };

typedef struct {
    int fd; /* connected to its server */
    struct sockaddr_in client;
} flow_t;

static int ep, listener;
static flow_t *table[TABLE]; /* open addressing */
static unsigned flow_count, origin_count;
static struct sockaddr_in origins[ORIGINS_MAX];
static char bytes[TURN][DATAGRAM_MAX];
static struct iovec pieces[TURN];
static struct mmsghdr messages[TURN];
static struct sockaddr_in names[BATCH];

static void die(const char *what) {
    fprintf(stderr, "udpfloor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static flow_t *flow_new(const struct sockaddr_in *client) {
    if (flow_count == FLOWS_MAX) die("too many flows");
    flow_t *f = malloc(sizeof *f);
    if (!f) die("malloc");
    f->client = *client;
    f->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (f->fd < 0) die("socket");
    const struct sockaddr_in *to = &origins[flow_count++ % origin_count];
    if (connect(f->fd, (const struct sockaddr *)to, sizeof *to) < 0) die("connect");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = f};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, f->fd, &e) < 0) die("epoll_ctl");
    return f;
}

static flow_t *flow_of(const struct sockaddr_in *client) {
    uint64_t key = ((uint64_t)client->sin_addr.s_addr << 16 | client->sin_port) * 0x9E3779B97F4A7C15u;
    unsigned at = (unsigned)(key >> 48) % TABLE;
    while (table[at]) {
        if (table[at]->client.sin_port == client->sin_port && table[at]->client.sin_addr.s_addr == client->sin_addr.s_addr) return table[at];
        at = (at + 1) % TABLE;
    }
    return table[at] = flow_new(client);
}

static void on_clients(void) {
    for (int i = 0; i < BATCH; i++) {
        pieces[i] = (struct iovec){.iov_base = bytes[i], .iov_len = DATAGRAM_MAX};
        messages[i].msg_hdr = (struct msghdr){.msg_name = &names[i], .msg_namelen = sizeof names[i], .msg_iov = &pieces[i], .msg_iovlen = 1};
    }
    int got = recvmmsg(listener, messages, BATCH, 0, NULL);
    for (int i = 0; i < got; i++) send(flow_of(&names[i])->fd, bytes[i], messages[i].msg_len, MSG_NOSIGNAL);
}

/* Takes one answer as the `index`th of this turn. Returns how many there are then. */
static int on_server(flow_t *f, int index) {
    ssize_t n = recv(f->fd, bytes[index], DATAGRAM_MAX, 0);
    if (n < 0) return index;
    pieces[index] = (struct iovec){.iov_base = bytes[index], .iov_len = (size_t)n};
    messages[index].msg_hdr =
        (struct msghdr){.msg_name = &f->client, .msg_namelen = sizeof f->client, .msg_iov = &pieces[index], .msg_iovlen = 1};
    return index + 1;
}

static void answers_send(int answers) {
    for (int sent = 0; sent < answers;) { /* what does not fit is lost, as datagrams are */
        int n = sendmmsg(listener, messages + sent, (unsigned)(answers - sent), 0);
        sent += n > 0 ? n : 1;
    }
}

static void listener_new(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof a;
    int room = ROOM;
    listener = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&a, sizeof a) < 0) die("bind");
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (getsockname(listener, (struct sockaddr *)&a, &length) < 0) die("getsockname");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e) < 0) die("epoll_ctl");
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
}

int main(int argc, char **argv) {
    int port = 0;
    for (int o; (o = getopt(argc, argv, "l:o:")) != -1;) {
        if (o == 'l') {
            port = atoi(optarg);
        } else if (o == 'o' && origin_count < ORIGINS_MAX) {
            origins[origin_count++] = (struct sockaddr_in){
                .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(optarg)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        } else {
            origin_count = 0;
            break;
        }
    }
    if (!origin_count) {
        fprintf(stderr, "usage: udpfloor [-l PORT] -o SERVER_PORT [-o SERVER_PORT …]\n");
        return 2;
    }
    if ((ep = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll_create1");
    listener_new(port);
    for (;;) {
        struct epoll_event events[TURN];
        int n = epoll_wait(ep, events, TURN, -1), answers = 0, clients = 0;
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                answers = on_server(events[i].data.ptr, answers);
            else
                clients = 1;
        }
        answers_send(answers);
        if (clients) on_clients(); /* last, for both use the same room */
    }
}
