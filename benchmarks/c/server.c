/* The baseline: the least a server can do. Level-triggered epoll, one read and one write per readiness (of datagrams and of connections
   to accept, up to sixteen), no framework.
   usage: server echo|lines|http|udp    It prints "ready PORT" and serves until it is killed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PONG "+PONG\r\n"
#define HELLO "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!"
enum { ROOM = 65536, EVENTS = 1024, ACCEPTS = 16, DATAGRAMS = 16, DESCRIPTORS = 65536 };

struct connection {
    int matched; /* how much of the request's end has been seen: a request may be cut anywhere */
    char *left;  /* an answer the kernel did not take at once, or NULL */
    size_t left_size;
};

static struct connection connections[DESCRIPTORS];
static char input[ROOM], output[ROOM * sizeof HELLO];
static int poller;

static void die(const char *what) { perror(what); exit(1); }

static void watch(int how, int fd, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poller, how, fd, &event) < 0) die("epoll_ctl");
}

static void drop(int fd) {
    free(connections[fd].left);
    connections[fd] = (struct connection){0};
    close(fd);
}

static int listen_here(int type, int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
    if (type == SOCK_STREAM && listen(fd, 1024) < 0) die("listen");
    getsockname(fd, (struct sockaddr *)&address, &length);
    *port = ntohs(address.sin_port);
    return fd;
}

static void accept_some(int listener) {
    int yes = 1;
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        if (fd >= DESCRIPTORS) { close(fd); continue; }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
}

/* Append one answer for every request that ends in these bytes. */
static size_t answer(struct connection *c, const char *bytes, ssize_t n, const char *end, const char *reply) {
    size_t size = 0, reply_size = strlen(reply);
    int end_size = (int)strlen(end);
    for (ssize_t i = 0; i < n; i++) {
        c->matched = bytes[i] == end[c->matched] ? c->matched + 1 : bytes[i] == end[0];
        if (c->matched == end_size) {
            memcpy(output + size, reply, reply_size);
            size += reply_size;
            c->matched = 0;
        }
    }
    return size;
}

static void keep(int fd, const char *bytes, size_t size) {
    struct connection *c = &connections[fd];
    char *left = malloc(size);
    memcpy(left, bytes, size);
    free(c->left);
    c->left = left;
    c->left_size = size;
}

static void put(int fd, const char *bytes, size_t size) {
    ssize_t n = write(fd, bytes, size);
    if (n < 0 && errno != EAGAIN) { drop(fd); return; }
    size_t sent = n < 0 ? 0 : (size_t)n;
    int was_waiting = connections[fd].left != NULL;
    if (sent < size) {
        keep(fd, bytes + sent, size - sent);
        if (!was_waiting) watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
    } else if (was_waiting) {
        free(connections[fd].left);
        connections[fd].left = NULL;
        watch(EPOLL_CTL_MOD, fd, EPOLLIN);
    }
}

static void serve(int fd, char service) {
    struct connection *c = &connections[fd];
    if (c->left) { put(fd, c->left, c->left_size); return; }
    ssize_t n = read(fd, input, sizeof input);
    if (n <= 0) { if (n == 0 || errno != EAGAIN) drop(fd); return; }
    if (service == 'e') { put(fd, input, (size_t)n); return; }
    size_t size = service == 'l' ? answer(c, input, n, "\n", PONG) : answer(c, input, n, "\r\n\r\n", HELLO);
    if (size) put(fd, output, size);
}

static void serve_datagrams(int fd) {
    struct sockaddr_in peer;
    for (int i = 0; i < DATAGRAMS; i++) {
        socklen_t length = sizeof peer;
        ssize_t n = recvfrom(fd, input, sizeof input, 0, (struct sockaddr *)&peer, &length);
        if (n < 0) return;
        sendto(fd, input, (size_t)n, 0, (struct sockaddr *)&peer, length);
    }
}

int main(int argc, char **argv) {
    char service = argc == 2 ? argv[1][0] : '?';
    if (!strchr("elhu", service)) { fprintf(stderr, "usage: server echo|lines|http|udp\n"); return 2; }
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int port, listener = listen_here(service == 'u' ? SOCK_DGRAM : SOCK_STREAM, &port);
    poller = epoll_create1(EPOLL_CLOEXEC);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    printf("ready %d\n", port);
    fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) serve(fd, service);
            else if (service == 'u') serve_datagrams(fd);
            else accept_some(fd);
        }
    }
}
