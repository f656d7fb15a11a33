/* A closed-loop load: every connection sends, waits for its whole answer, checks it, sends again.
   It prints one JSON object: what was done within the measured window, and the CPU time the server process spent in it.

   usage: load exchange|churn|udp -p PORT -P SERVER_PID -c CONNECTIONS -t SECONDS -w WARM_UP_SECONDS
               (-n BYTES | -q REQUEST -e REPLY) [-d DEPTH]
   exchange  keeps its connections; DEPTH requests go out in one write (pipelining)
   churn     connects, exchanges one message and closes, again and again
   udp       one datagram in flight per socket; a lost one is sent again after a fifth of a second */
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
#include <time.h>
#include <unistd.h>

enum { ROOM = 262144, EVENTS = 1024 };
static const double RESEND_AFTER = 0.2;

struct connection {
    int fd, wants_out;
    size_t sent, received;
    double sent_at;
};

static int port, count = 50, depth = 1, is_churn, is_udp, poller;
static double seconds = 1, warm_up = 0.2;
static pid_t server;
static char *request, *reply;
static size_t request_size, reply_size;
static struct connection *connections;
static long long done, resent, connects;
static char input[ROOM];

static void die(const char *what) {
    if (errno) perror(what); else fprintf(stderr, "%s\n", what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The CPU clock of another process: all of its threads, user and system, in nanoseconds. */
static long long server_cpu(void) {
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(server, &clock) || clock_gettime(clock, &t)) die("CPU clock of the server");
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void watch(int how, struct connection *c, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, how, c->fd, &event) < 0) die("epoll_ctl");
}

/* Churn takes its source addresses from all of 127.0.0.0/8 in turn, so that ports in TIME_WAIT never run out. */
static void bind_source(int fd) {
    struct sockaddr_in source = {.sin_family = AF_INET};
    int yes = 1;
    source.sin_addr.s_addr = htonl(0x7f000002u + (unsigned)(connects++ / 64 % 200));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0) die("bind");
}

static void open_connection(struct connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1, later = is_churn ? SOCK_NONBLOCK : 0;
    c->fd = socket(AF_INET, (is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | later, 0);
    if (c->fd < 0) die("socket");
    if (is_churn) bind_source(c->fd);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) die("connect");
    if (!is_udp) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    c->wants_out = is_churn;
    watch(EPOLL_CTL_ADD, c, c->wants_out ? EPOLLOUT : EPOLLIN);
}

static void want_out(struct connection *c, int wants) {
    if (wants == c->wants_out) return;
    c->wants_out = wants;
    watch(EPOLL_CTL_MOD, c, EPOLLIN | (wants ? EPOLLOUT : 0));
}

static void put(struct connection *c) {
    ssize_t n = send(c->fd, request + c->sent, request_size - c->sent, MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) die("send");
    c->sent += n < 0 ? 0 : (size_t)n;
    want_out(c, c->sent < request_size);
}

static void begin(struct connection *c) {
    c->sent = c->received = 0;
    if (is_udp) c->sent_at = now();
    put(c);
}

static void finish(struct connection *c) {
    done += depth;
    if (!is_churn) { begin(c); return; }
    close(c->fd);
    c->sent = c->received = 0;
    open_connection(c);
}

static void get(struct connection *c) {
    ssize_t n = recv(c->fd, input, sizeof input, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { if (n == 0) errno = 0; die("the server closed the connection"); }
    if (c->received + (size_t)n > reply_size || memcmp(input, reply + c->received, (size_t)n)) {
        errno = 0;
        die("the answer is not what was expected");
    }
    c->received += (size_t)n;
    if (c->received == reply_size) finish(c);
}

static void resend_lost(double time) {
    for (int i = 0; i < count; i++)
        if (time - connections[i].sent_at > RESEND_AFTER) { resent++; begin(&connections[i]); }
}

static void run_until(double end) {
    struct epoll_event events[EVENTS];
    double time;
    while ((time = now()) < end) {
        int n = epoll_wait(poller, events, EVENTS, 50);
        if (is_udp && n == 0) resend_lost(time);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) put(c);
            else get(c);
        }
    }
}

static char *repeat(const char *text, size_t size, size_t *total) {
    char *block = malloc(size * (size_t)depth);
    for (int i = 0; i < depth; i++) memcpy(block + (size_t)i * size, text, size);
    *total = size * (size_t)depth;
    return block;
}

static char *filler(size_t size) {
    char *text = malloc(size + 1);
    for (size_t i = 0; i < size; i++) text[i] = (char)('a' + i % 26);
    text[size] = 0;
    return text;
}

static void read_options(int argc, char **argv) {
    const char *query = NULL, *expected = NULL;
    int option;
    while ((option = getopt(argc, argv, "p:P:c:t:w:n:q:e:d:")) != -1) {
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'P': server = (pid_t)atoi(optarg); break;
        case 'c': count = atoi(optarg); break;
        case 't': seconds = atof(optarg); break;
        case 'w': warm_up = atof(optarg); break;
        case 'n': query = expected = filler((size_t)atol(optarg)); break;
        case 'q': query = optarg; break;
        case 'e': expected = optarg; break;
        case 'd': depth = atoi(optarg); break;
        default: exit(2);
        }
    }
    if (optind != argc - 1 || !query || !expected || !port || !server) { errno = 0; die("usage: see the head of load.c"); }
    is_churn = !strcmp(argv[optind], "churn");
    is_udp = !strcmp(argv[optind], "udp");
    request = repeat(query, strlen(query), &request_size);
    reply = repeat(expected, strlen(expected), &reply_size);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poller = epoll_create1(EPOLL_CLOEXEC);
    connections = calloc((size_t)count, sizeof *connections);
    for (int i = 0; i < count; i++) open_connection(&connections[i]);
    if (!is_churn) for (int i = 0; i < count; i++) begin(&connections[i]);
    run_until(now() + warm_up);
    long long done_before = done, cpu_before = server_cpu();
    double start = now();
    run_until(start + seconds);
    double elapsed = now() - start;
    long long cpu = server_cpu() - cpu_before;
    printf("{\"messages\": %lld, \"seconds\": %.6f, \"cpu_ns\": %lld, \"resent\": %lld}\n", done - done_before, elapsed, cpu, resent);
    return 0;
}
