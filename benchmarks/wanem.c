/* wanem: a long link between two network namespaces, made of real packets.
 *
 *   gcc -O2 -Wall -o wanem wanem.c -lm
 *   wanem NEAR FAR RTT_MS RATE_MBIT LOSS_PERCENT GSO
 *
 * Opens a TUN device `wan0` in each of the two namespaces (below /run/netns) and carries the
 * packets between them with a delay, a rate and a loss, each direction for itself. So TCP
 * meets here what it meets on a WAN: handshakes, window growth, queues, loss, silence.
 * No netem is needed. GSO 1 passes packets of up to 64 KiB, which is cheap; GSO 0 passes
 * real ones, for a loss that hits each of them.
 *
 * Prints "ready" when the devices are there; their addresses are the caller's business.
 * SIGUSR1 cuts the link, SIGUSR2 mends it, SIGTERM ends it and prints counters. Linux, root.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <math.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000ull
#define TOGETHER_NS 100000ull /* packets due this close together leave in one go */
#define QUEUE_S 0.05          /* what the slow end of the link buffers before it drops */
#define LEAST_QUEUE_BYTES 65536.0
#define PACKETS_PER_TURN 128
#define PACKET_BYTES 70000
#define TIMER 2 /* its number among the epoll events; 0 and 1 are the two ends */

struct packet {
    struct packet *next;
    uint64_t due_ns;
    int size_bytes;
    unsigned char bytes[];
};

/* One direction: what was read at one end and waits for the other. */
struct lane {
    int from, to;
    uint64_t line_free_ns; /* when the last accepted byte will have left */
    struct packet *first, **last;
    uint64_t carried, bytes, lost, overflowed, swallowed;
};

static double rate_bytes_per_s, loss;
static uint64_t delay_ns;
static int gso;
static volatile sig_atomic_t is_cut, is_over;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static void on_signal(int number) {
    if (number == SIGUSR1)
        is_cut = 1;
    else if (number == SIGUSR2)
        is_cut = 0;
    else
        is_over = 1;
}

static int open_device(const char *namespace) {
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    if (home < 0 || there < 0 || setns(there, CLONE_NEWNET))
        die(path);
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | (gso ? IFF_VNET_HDR : 0)};
    strcpy(request.ifr_name, "wan0");
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (device < 0 || ioctl(device, TUNSETIFF, &request))
        die("/dev/net/tun");
    if (gso && ioctl(device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4))
        die("TUNSETOFFLOAD");
    if (setns(home, CLONE_NEWNET))
        die("setns");
    close(home);
    close(there);
    return device;
}

/* How many real packets this one stands for; adds the headers that they will have to *wire. */
static int segments(const unsigned char *bytes, double *wire_bytes) {
    const struct virtio_net_hdr *header = (const void *)bytes;
    if (!gso || !header->gso_type || !header->gso_size)
        return 1;
    int count = ceil((*wire_bytes - header->hdr_len) / header->gso_size);
    *wire_bytes += (count - 1) * (double)header->hdr_len;
    return count;
}

/* Decide what becomes of a packet: cut off, lost, dropped by a full queue, or on its way. */
static void accept_packet(struct lane *lane, const unsigned char *bytes, int size, uint64_t now) {
    double wire_bytes = size - (gso ? (int)sizeof(struct virtio_net_hdr) : 0);
    int count = segments(bytes, &wire_bytes);
    double queue_bytes = fmax(LEAST_QUEUE_BYTES, rate_bytes_per_s * QUEUE_S);
    if (lane->line_free_ns < now)
        lane->line_free_ns = now;
    if (is_cut) {
        lane->swallowed += count;
        return;
    }
    if (loss > 0 && drand48() < 1 - pow(1 - loss, count)) {
        lane->lost += count;
        return;
    }
    if ((double)(lane->line_free_ns - now) / SECOND_NS * rate_bytes_per_s > queue_bytes) {
        lane->overflowed += count;
        return;
    }
    struct packet *packet = malloc(sizeof *packet + size);
    if (!packet)
        die("malloc");
    lane->line_free_ns += wire_bytes / rate_bytes_per_s * SECOND_NS;
    packet->due_ns = lane->line_free_ns + delay_ns;
    packet->size_bytes = size;
    packet->next = NULL;
    memcpy(packet->bytes, bytes, size);
    *lane->last = packet;
    lane->last = &packet->next;
    lane->carried += count;
    lane->bytes += wire_bytes;
}

static void take_in(struct lane *lane) {
    static unsigned char bytes[PACKET_BYTES];
    uint64_t now = now_ns();
    for (int turn = 0; turn < PACKETS_PER_TURN; turn++) {
        int size = read(lane->from, bytes, sizeof bytes);
        if (size <= 0)
            return;
        accept_packet(lane, bytes, size, now);
    }
}

/* Hand over what is due; returns when the next one will be, 0 for never. */
static uint64_t hand_over(struct lane *lane) {
    uint64_t now = now_ns();
    struct packet *packet;
    while ((packet = lane->first) && packet->due_ns <= now + TOGETHER_NS) {
        if (is_cut)
            lane->swallowed++;
        else if (write(lane->to, packet->bytes, packet->size_bytes) < 0)
            lane->overflowed++;
        if (!(lane->first = packet->next))
            lane->last = &lane->first;
        free(packet);
    }
    return packet ? packet->due_ns : 0;
}

static void carry(struct lane lanes[2]) {
    int events = epoll_create1(EPOLL_CLOEXEC);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    int sources[] = {lanes[0].from, lanes[1].from, timer};
    for (unsigned number = 0; number <= TIMER; number++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = number};
        if (epoll_ctl(events, EPOLL_CTL_ADD, sources[number], &event))
            die("epoll_ctl");
    }
    while (!is_over) {
        struct epoll_event ready[TIMER + 1];
        int count = epoll_wait(events, ready, TIMER + 1, -1);
        for (int i = 0; i < count; i++) {
            uint64_t expirations;
            if (ready[i].data.u32 < TIMER)
                take_in(&lanes[ready[i].data.u32]);
            else if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
                die("timer");
        }
        uint64_t next = hand_over(&lanes[0]), other = hand_over(&lanes[1]);
        if (!next || (other && other < next))
            next = other;
        struct itimerspec alarm = {.it_value = {next / SECOND_NS, next % SECOND_NS}};
        timerfd_settime(timer, TFD_TIMER_ABSTIME, &alarm, NULL);
    }
}

int main(int count, char **words) {
    if (count != 7) {
        fprintf(stderr, "usage: wanem NEAR FAR RTT_MS RATE_MBIT LOSS_PERCENT GSO\n");
        return 2;
    }
    delay_ns = atof(words[3]) / 2 * 1e6;
    rate_bytes_per_s = atof(words[4]) * 1e6 / 8;
    loss = atof(words[5]) / 100;
    gso = atoi(words[6]);
    srand48(now_ns());
    struct sigaction action = {.sa_handler = on_signal};
    int numbers[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
    int near = open_device(words[1]), far = open_device(words[2]);
    struct lane lanes[2] = {{.from = near, .to = far}, {.from = far, .to = near}};
    for (int i = 0; i < 2; i++)
        lanes[i].last = &lanes[i].first;
    fprintf(stderr, "ready\n");
    carry(lanes);
    for (int i = 0; i < 2; i++)
        fprintf(stderr, "%s: %lu packets, %lu bytes; %lu lost, %lu overflowed, %lu cut off\n",
                words[1 + i], lanes[i].carried, lanes[i].bytes, lanes[i].lost,
                lanes[i].overflowed, lanes[i].swallowed);
    return 0;
}
