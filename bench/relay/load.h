/* What the two halves of the load generator share: SPICE's numbers and small helpers.
 *
 * Little-endian hosts only, as the wire is. Messages have mini headers: u16 type, u32 size.
 * A display is told what to do by a STREAM_REPORT, a message of 32 bytes that viewers send anyway,
 * so that commands pass every proxy: words 1 to 3 are body size (0: stop), MB/s (0: no limit) and
 * messages (0: no end).
 */
#ifndef BENCH_RELAY_LOAD_H
#define BENCH_RELAY_LOAD_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAIN = 1, DISPLAY = 2, INPUTS = 3, CURSOR = 4, PLAYBACK = 5 };
enum { SET_ACK = 3, ACK_SYNC = 1, ACK = 2 };
enum { MAIN_INIT = 103, CHANNELS_LIST = 104, ATTACH_CHANNELS = 104 };
enum { DISPLAY_INIT = 101, STREAM_REPORT = 102, DRAW_COPY = 304 };
enum { INPUTS_INIT = 101, KEY_DOWN = 101, KEY_MODIFIERS = 102 };

enum {
    LINK_HEADER = 16,
    LINK_MESS = 18,
    LINK_REPLY = 178,
    PUBLIC_KEY = 162,
    SEALED = 128,
    MINI = 6,
    REPORT_WORDS = 8,
};
#define COMMON_CAPS 0x0bu /* AUTH_SELECTION, AUTH_SPICE, MINI_HEADER */
#define ACK_WINDOW 10000u /* a real server has 20, and then measures nothing but round trips */

static inline void put16(uint8_t *at, uint16_t value) { memcpy(at, &value, 2); }
static inline void put32(uint8_t *at, uint32_t value) { memcpy(at, &value, 4); }
static inline uint16_t get16(const uint8_t *at) { uint16_t v; memcpy(&v, at, 2); return v; }
static inline uint32_t get32(const uint8_t *at) { uint32_t v; memcpy(&v, at, 4); return v; }

/* The byte at `index` of every blasted body; the client checks it. */
static inline uint8_t filler(size_t index) { return (uint8_t)(index * 31 + 7); }

static inline uint32_t caps_of_channel(int type)
{
    return type == MAIN ? 0x6 : type == DISPLAY ? 0x1052 : type == INPUTS ? 1 : 0;
}

static inline uint64_t now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *words, ...)
{
    va_list list;
    va_start(list, words);
    vfprintf(stderr, words, list);
    va_end(list);
    fprintf(stderr, errno ? " (%s)\n" : "\n", strerror(errno));
    exit(1);
}

static inline void no_delay(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Loopback under BBR is paced, and measures timers; cubic is what most hosts have. */
static inline void congestion_control(int fd)
{
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
}

static inline void many_descriptors(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static inline struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

#endif
