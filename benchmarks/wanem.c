/* wanem - tiny user-space WAN emulator: one TUN per network namespace ("site"), full mesh between
 * sites with per-pair RTT, rate, loss, jitter and queue.  Real packets, so TCP handshakes, window
 * growth, loss recovery and partitions behave as on a WAN.  No netem needed.  Linux, root.
 *   gcc -O2 -Wall -o wanem wanem.c -lm     usage: wanem CONF [CTL_FIFO]
 * CONF / control lines ('#' comments):
 *   gso 0|1                    1 (default): 64 KiB GSO packets, cheap; use 0 for honest per-packet
 * loss site NAME IP/LEN           NAME = a netns (created if missing), or '-' for the current one
 *   default K=V..              link defaults;  link A B K=V..  both directions;  path A B K=V..
 * A->B only keys: rtt=ms (half each way) delay=ms (one way) jitter=ms rate=Mbit/s (0=off)
 * loss=percent queue=KB (bytes waiting for the rate limiter, default max(64, rate*50ms)) down=0|1
 * (blackhole) "link"/"path" lines also work at run time:  echo 'link a b down=1' > CTL_FIFO ;
 * SIGUSR1 prints counters. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <math.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#define MAXS 16
#define SLACK 100000ull /* ns: batch releases this close together */
typedef unsigned long long u64;
struct pkt {
    struct pkt *next;
    u64 rel;
    int len;
    unsigned char d[];
};
struct link {
    double delay, jitter, rate, loss;
    long queue;
    int down;
    u64 dep, lastrel;
    struct pkt *h, **t;
    u64 fw, by, dl, dq, dd;
};
static struct site {
    char name[64];
    unsigned net, mask;
    int fd;
} S[MAXS];
static struct link L[MAXS][MAXS], D = {.delay = 0};
static int ns, gso = 1;
static volatile sig_atomic_t stop, dump;
static u64 now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static void die(const char *m) {
    perror(m);
    exit(1);
}
static int find(const char *n) {
    for (int i = 0; i < ns; i++)
        if (!strcmp(S[i].name, n))
            return i;
    return -1;
}
static void sh(const char *f, const char *a, const char *b) {
    char c[512];
    snprintf(c, sizeof c, f, a, b);
    if (system(c))
        fprintf(stderr, "failed: %s\n", c);
}

static void addsite(char *name, char *cidr) {
    struct site *s = &S[ns];
    char ip[64], in[128] = "";
    int len = 24;
    snprintf(s->name, sizeof s->name, "%s", name);
    snprintf(ip, sizeof ip, "%s", cidr);
    char *sl = strchr(ip, '/');
    if (sl) {
        *sl = 0;
        len = atoi(sl + 1);
    }
    s->mask = len ? ~0u << (32 - len) : 0;
    s->net = ntohl(inet_addr(ip)) & s->mask;
    int self = open("/proc/self/ns/net", O_RDONLY);
    if (strcmp(name, "-")) {
        char p[128];
        snprintf(p, sizeof p, "/run/netns/%s", name);
        if (access(p, F_OK))
            sh("ip netns add %s%s", name, "");
        int f = open(p, O_RDONLY);
        if (f < 0 || setns(f, CLONE_NEWNET))
            die(p);
        close(f);
        snprintf(in, sizeof in, "-n %s", name);
    }
    struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI | (gso ? IFF_VNET_HDR : 0)};
    strcpy(r.ifr_name, "wan0");
    s->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (s->fd < 0 || ioctl(s->fd, TUNSETIFF, &r))
        die("tun");
    if (gso && ioctl(s->fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4))
        die("TUNSETOFFLOAD");
    if (setns(self, CLONE_NEWNET))
        die("setns");
    close(self);
    sh("ip %s link set lo up; ip %s link set wan0 txqueuelen 4000 up", in, in);
    sh("ip %s addr add %s dev wan0", in, cidr);
    /* reach the other sites through wan0 (their /16) */
    char net[32];
    unsigned n = htonl(s->net & 0xffff0000u);
    inet_ntop(AF_INET, &n, net, sizeof net);
    sh("ip %s route replace %s/16 dev wan0", in, net);
    ns++;
}
static void setkv(struct link *l, char *tok) {
    char *v = strchr(tok, '=');
    if (!v) {
        fprintf(stderr, "bad token %s\n", tok);
        return;
    }
    *v++ = 0;
    double x = atof(v);
    if (!strcmp(tok, "rtt"))
        l->delay = x * 5e5;
    else if (!strcmp(tok, "delay"))
        l->delay = x * 1e6;
    else if (!strcmp(tok, "jitter"))
        l->jitter = x * 1e6;
    else if (!strcmp(tok, "rate"))
        l->rate = x * 1e6 / 8;
    else if (!strcmp(tok, "loss"))
        l->loss = x / 100;
    else if (!strcmp(tok, "queue"))
        l->queue = x * 1024;
    else if (!strcmp(tok, "down"))
        l->down = x;
    else
        fprintf(stderr, "bad key %s\n", tok);
}
static void line(char *b, int runtime) {
    char *w[32];
    int n = 0;
    b[strcspn(b, "#\n")] = 0;
    for (char *p = strtok(b, " \t"); p && n < 32; p = strtok(0, " \t"))
        w[n++] = p;
    if (!n)
        return;
    if (!runtime && !strcmp(w[0], "gso") && n > 1)
        gso = atoi(w[1]);
    else if (!runtime && !strcmp(w[0], "default"))
        for (int i = 1; i < n; i++)
            setkv(&D, w[i]);
    else if (!runtime && !strcmp(w[0], "site") && n > 2 && ns < MAXS) {
        addsite(w[1], w[2]);
        for (int i = 0; i < ns; i++) {
            L[i][ns - 1] = D;
            L[ns - 1][i] = D;
            L[i][ns - 1].t = &L[i][ns - 1].h;
            L[ns - 1][i].t = &L[ns - 1][i].h;
        }
    } else if ((!strcmp(w[0], "link") || !strcmp(w[0], "path")) && n > 3) {
        int a = find(w[1]), c = find(w[2]);
        if (a < 0 || c < 0 || a == c) {
            fprintf(stderr, "unknown pair %s %s\n", w[1], w[2]);
            return;
        }
        for (int i = 3; i < n; i++) {
            char t[64];
            snprintf(t, sizeof t, "%s", w[i]);
            setkv(&L[a][c], t);
            if (w[0][0] == 'l') {
                snprintf(t, sizeof t, "%s", w[i]);
                setkv(&L[c][a], t);
            }
        }
    } else
        fprintf(stderr, "bad line: %s\n", w[0]);
}
static void input(int i, u64 t) {
    static unsigned char b[70000];
    int h = gso ? sizeof(struct virtio_net_hdr) : 0;
    for (int k = 0; k < 128; k++) {
        int n = read(S[i].fd, b, sizeof b);
        if (n <= 0)
            return;
        unsigned char *ip = b + h;
        if (n < h + 20 || ip[0] >> 4 != 4)
            continue;
        unsigned dst = ip[16] << 24 | ip[17] << 16 | ip[18] << 8 | ip[19];
        int j;
        for (j = 0; j < ns; j++)
            if (j != i && (dst & S[j].mask) == S[j].net)
                break;
        if (j == ns)
            continue;
        struct link *l = &L[i][j];
        int seg = 1;
        double wire = n - h;
        if (gso) {
            struct virtio_net_hdr *v = (void *)b;
            if (v->gso_type && v->gso_size) {
                seg = (n - h - v->hdr_len + v->gso_size - 1) / v->gso_size;
                wire += (seg - 1) * (double)v->hdr_len;
            }
        }
        if (l->down) {
            l->dd += seg;
            continue;
        }
        if (l->loss > 0 && drand48() < 1 - pow(1 - l->loss, seg)) {
            l->dl += seg;
            continue;
        }
        if (l->dep < t)
            l->dep = t;
        if (l->rate > 0) {
            double q = l->queue ? l->queue : fmax(65536, l->rate * .05);
            if ((l->dep - t) * 1e-9 * l->rate > q) {
                l->dq += seg;
                continue;
            }
            l->dep += wire / l->rate * 1e9;
        }
        struct pkt *p = malloc(sizeof *p + n);
        if (!p)
            continue;
        p->rel = l->dep + (u64)(l->delay + (l->jitter ? drand48() * l->jitter : 0));
        if (p->rel < l->lastrel)
            p->rel = l->lastrel; /* jitter never reorders */
        l->lastrel = p->rel;
        p->len = n;
        p->next = 0;
        memcpy(p->d, b, n);
        *l->t = p;
        l->t = &p->next;
        l->fw += seg;
        l->by += wire;
    }
}
static void onsig(int s) {
    if (s == SIGUSR1)
        dump = 1;
    else
        stop = 1;
}
int main(int c, char **v) {
    if (c < 2) {
        fprintf(stderr, "usage: wanem CONF [CTL_FIFO]\n");
        return 2;
    }
    FILE *f = fopen(v[1], "r");
    if (!f)
        die(v[1]);
    char b[1024];
    while (fgets(b, sizeof b, f))
        line(b, 0);
    fclose(f);
    srand48(time(0) ^ getpid());
    int ep = epoll_create1(0), tf = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), cf = -1;
    struct epoll_event e = {.events = EPOLLIN};
    for (int i = 0; i < ns; i++) {
        e.data.u32 = i;
        if (epoll_ctl(ep, EPOLL_CTL_ADD, S[i].fd, &e))
            die("epoll");
    }
    e.data.u32 = 100;
    epoll_ctl(ep, EPOLL_CTL_ADD, tf, &e);
    if (c > 2) {
        mkfifo(v[2], 0600);
        cf = open(v[2], O_RDWR | O_NONBLOCK);
        if (cf < 0)
            die(v[2]);
        e.data.u32 = 101;
        epoll_ctl(ep, EPOLL_CTL_ADD, cf, &e);
    }
    struct sigaction sa = {.sa_handler = onsig};
    sigaction(SIGTERM, &sa, 0);
    sigaction(SIGINT, &sa, 0);
    sigaction(SIGUSR1, &sa, 0);
    fprintf(stderr, "wanem: %d sites up, gso=%d\n", ns, gso);
    while (!stop) {
        struct epoll_event ev[32];
        int n = epoll_wait(ep, ev, 32, -1);
        u64 t = now();
        for (int k = 0; k < n; k++) {
            unsigned i = ev[k].data.u32;
            if (i < MAXS)
                input(i, t);
            else if (i == 100) {
                u64 x;
                if (read(tf, &x, 8) < 0) {
                }
            } else {
                int r = read(cf, b, sizeof b - 1);
                if (r > 0) {
                    b[r] = 0;
                    char *sp, *q = strtok_r(b, "\n", &sp);
                    while (q) {
                        char one[512];
                        snprintf(one, sizeof one, "%s", q);
                        line(one, 1);
                        q = strtok_r(0, "\n", &sp);
                    }
                }
            }
        }
        u64 next = 0;
        t = now();
        for (int i = 0; i < ns; i++)
            for (int j = 0; j < ns; j++) {
                struct link *l = &L[i][j];
                struct pkt *p;
                while ((p = l->h) && p->rel <= t + SLACK) {
                    if (l->down)
                        l->dd++;
                    else if (write(S[j].fd, p->d, p->len) < 0)
                        l->dq++;
                    if (!(l->h = p->next))
                        l->t = &l->h;
                    free(p);
                }
                if (p && (!next || p->rel < next))
                    next = p->rel;
            }
        if (next) {
            struct itimerspec it = {.it_value = {next / 1000000000ull, next % 1000000000ull}};
            timerfd_settime(tf, TFD_TIMER_ABSTIME, &it, 0);
        }
        if (dump || stop) {
            dump = 0;
            for (int i = 0; i < ns; i++)
                for (int j = 0; j < ns; j++)
                    if (L[i][j].fw + L[i][j].dd + L[i][j].dl)
                        fprintf(
                            stderr,
                            "%s->%s pkts=%llu MB=%.1f lost=%llu queue_drop=%llu down_drop=%llu\n",
                            S[i].name, S[j].name, L[i][j].fw, L[i][j].by / 1e6, L[i][j].dl,
                            L[i][j].dq, L[i][j].dd);
        }
    }
    return 0;
}
