/* A fake SPICE server on loopback, plain TCP, one thread.
 *
 * Does the link stage as spice-server does it: opens the ticket with its RSA key, but reuses that key
 * (a fresh one for each link would take it 12 ms) and accepts whatever password is in it. Then, by
 * channel: MAIN says INIT and lists channels when asked,
 * a display says SET_ACK after its INIT and blasts what a STREAM_REPORT asks for, INPUTS answers
 * each KEY_DOWN with KEY_MODIFIERS, the rest stays silent. As in spice-server, the end of MAIN
 * ends its session. Prints its port, and ends with its standard input.
 */
#include "load.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

enum { SEND_AT_ONCE = 256 * 1024, TICK_NS = 1000000 };
enum phase { HEADER, MESS, TICKET, RELAY };

struct pattern { /* whole messages of one size, one behind the other */
    uint32_t body;
    size_t bytes, messages;
    uint8_t *data;
    struct pattern *next;
};

struct conn {
    int fd;
    enum phase phase;
    int type;
    uint32_t session;
    uint32_t events;
    size_t have, skip, mess_bytes, owed;
    uint8_t in[8192], out[2048];
    const struct pattern *blast;
    size_t at;
    uint64_t left; /* bytes of the blast, UINT64_MAX for no end */
    double rate, credit; /* bytes per tick; 0 for no limit */
    struct conn *previous, *next;
};

static int poller, door, ticker;
static struct conn *conns, *doomed;
static struct pattern *patterns;
static uint8_t public_key[PUBLIC_KEY + 64];
static EVP_PKEY *private_key;
static uint32_t last_session;

static const struct pattern *pattern_of(uint32_t body)
{
    for (struct pattern *each = patterns; each; each = each->next)
        if (each->body == body)
            return each;
    struct pattern *made = calloc(1, sizeof *made);
    size_t one = MINI + (size_t)body;
    made->body = body;
    made->messages = one < SEND_AT_ONCE ? SEND_AT_ONCE / one : 1;
    made->bytes = one * made->messages;
    if (!(made->data = malloc(made->bytes)))
        die("no memory for messages of %u bytes", body);
    for (size_t message = 0; message < made->messages; message++) {
        uint8_t *at = made->data + message * one;
        put16(at, DRAW_COPY);
        put32(at + 2, body);
        for (size_t index = 0; index < body; index++)
            at[MINI + index] = filler(index);
    }
    made->next = patterns;
    return patterns = made;
}

static void watch(struct conn *conn, uint32_t events)
{
    if (conn->events == events)
        return;
    struct epoll_event event = {.events = events, .data.ptr = conn};
    epoll_ctl(poller, EPOLL_CTL_MOD, conn->fd, &event);
    conn->events = events;
}

/* Freed after the round of events, which may still name it. */
static void drop(struct conn *conn)
{
    if (conn->fd < 0)
        return;
    close(conn->fd);
    conn->fd = -1;
    if (conn->previous)
        conn->previous->next = conn->next;
    else
        conns = conn->next;
    if (conn->next)
        conn->next->previous = conn->previous;
    bool was_main = conn->phase == RELAY && conn->type == MAIN;
    conn->next = doomed;
    doomed = conn;
    if (!was_main)
        return;
    for (struct conn *each = conns, *after; each; each = after) {
        after = each->next;
        if (each->session == conn->session)
            drop(each);
    }
}

static void say(struct conn *conn, const void *data, size_t bytes)
{
    if (conn->owed + bytes > sizeof conn->out)
        return;
    memcpy(conn->out + conn->owed, data, bytes);
    conn->owed += bytes;
}

static void say_message(struct conn *conn, uint16_t type, const void *body, uint32_t bytes)
{
    uint8_t header[MINI];
    put16(header, type);
    put32(header + 2, bytes);
    say(conn, header, MINI);
    say(conn, body, bytes);
}

/* Send what is owed, then go on blasting; false when the peer is gone. */
static bool pump(struct conn *conn)
{
    bool full = false;
    if (conn->owed) {
        ssize_t sent = send(conn->fd, conn->out, conn->owed, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent > 0) {
            conn->owed -= (size_t)sent;
            memmove(conn->out, conn->out + sent, conn->owed);
        }
        full = conn->owed > 0;
    }
    if (conn->blast && !full) {
        size_t bytes = conn->blast->bytes - conn->at;
        if (bytes > 4 * SEND_AT_ONCE)
            bytes = 4 * SEND_AT_ONCE;
        if (bytes > conn->left)
            bytes = conn->left;
        if (conn->rate > 0 && (double)bytes > conn->credit)
            bytes = (size_t)conn->credit;
        ssize_t sent = bytes ? send(conn->fd, conn->blast->data + conn->at, bytes, MSG_NOSIGNAL) : 0;
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent > 0) {
            conn->at = (conn->at + (size_t)sent) % conn->blast->bytes;
            conn->credit -= (double)sent;
            if (conn->left != UINT64_MAX && !(conn->left -= (uint64_t)sent))
                conn->blast = NULL;
        }
        full = conn->blast && (conn->rate > 0 ? bytes && sent < (ssize_t)bytes : true);
    }
    watch(conn, EPOLLIN | (full ? EPOLLOUT : 0));
    return true;
}

static void begin_blast(struct conn *conn, const uint8_t *report)
{
    uint32_t body = get32(report + 4), rate = get32(report + 8), messages = get32(report + 12);
    if (!body) { /* stop behind a whole message */
        if (conn->blast) {
            size_t one = MINI + (size_t)conn->blast->body;
            conn->left = (one - conn->at % one) % one;
            conn->blast = conn->left ? conn->blast : NULL;
        }
        return;
    }
    conn->blast = pattern_of(body);
    conn->at = 0;
    conn->left = messages ? (uint64_t)messages * (MINI + (uint64_t)body) : UINT64_MAX;
    conn->rate = rate * 1e6 * TICK_NS / 1e9;
    conn->credit = 0;
}

static void on_message(struct conn *conn, uint16_t type, const uint8_t *body, uint32_t bytes)
{
    static const uint8_t set_ack[8] = {1, 0, 0, 0, ACK_WINDOW & 255, ACK_WINDOW >> 8};
    static const uint8_t listed[] = {3, 0, 0, 0, CURSOR, 0, INPUTS, 0, DISPLAY, 0};
    static const uint8_t lights[2] = {0, 0};
    if (conn->type == INPUTS && type == KEY_DOWN)
        say_message(conn, KEY_MODIFIERS, lights, sizeof lights);
    else if (conn->type == DISPLAY && type == DISPLAY_INIT)
        say_message(conn, SET_ACK, set_ack, sizeof set_ack);
    else if (conn->type == DISPLAY && type == STREAM_REPORT && bytes == 4 * REPORT_WORDS)
        begin_blast(conn, body);
    else if (conn->type == MAIN && type == ATTACH_CHANNELS)
        say_message(conn, CHANNELS_LIST, listed, sizeof listed);
}

static void on_linked(struct conn *conn)
{
    static const uint8_t set_ack[8] = {1, 0, 0, 0, ACK_WINDOW & 255, ACK_WINDOW >> 8};
    uint8_t body[32] = {0};
    if (conn->type == MAIN) {
        conn->session = ++last_session;
        put32(body, conn->session);
        put32(body + 8, 3);  /* supported mouse modes */
        put32(body + 12, 1); /* the mode */
        put32(body + 20, 10); /* agent tokens */
        say_message(conn, MAIN_INIT, body, 32);
    } else if (conn->type == INPUTS) {
        say_message(conn, INPUTS_INIT, body, 2);
    } else if (conn->type == CURSOR) {
        say_message(conn, SET_ACK, set_ack, sizeof set_ack);
    }
}

static bool opens(const uint8_t *sealed)
{
    uint8_t password[SEALED];
    size_t bytes = sizeof password;
    EVP_PKEY_CTX *work = EVP_PKEY_CTX_new(private_key, NULL);
    bool good = work && EVP_PKEY_decrypt_init(work) > 0 &&
                EVP_PKEY_CTX_set_rsa_padding(work, RSA_PKCS1_OAEP_PADDING) > 0 &&
                EVP_PKEY_decrypt(work, password, &bytes, sealed, SEALED) > 0;
    EVP_PKEY_CTX_free(work);
    return good;
}

/* Use up what was read; false when it is not SPICE. */
static bool advance(struct conn *conn)
{
    size_t at = 0;
    for (bool more = true; more;) {
        const uint8_t *data = conn->in + at;
        size_t have = conn->have - at;
        more = false;
        if (conn->phase == HEADER && have >= LINK_HEADER) {
            conn->mess_bytes = get32(data + 12);
            if (memcmp(data, "REDQ", 4) || conn->mess_bytes < LINK_MESS || conn->mess_bytes > 4096)
                return false;
            at += LINK_HEADER;
            conn->phase = MESS;
            more = true;
        } else if (conn->phase == MESS && have >= conn->mess_bytes) {
            uint8_t reply[LINK_HEADER + LINK_REPLY + 8] = "REDQ";
            conn->session = get32(data);
            conn->type = data[4];
            put32(reply + 4, 2);
            put32(reply + 8, 2);
            put32(reply + 12, LINK_REPLY + 8);
            memcpy(reply + LINK_HEADER + 4, public_key, PUBLIC_KEY);
            put32(reply + LINK_HEADER + 166, 1);
            put32(reply + LINK_HEADER + 170, 1);
            put32(reply + LINK_HEADER + 174, LINK_REPLY);
            put32(reply + LINK_HEADER + LINK_REPLY, COMMON_CAPS);
            put32(reply + LINK_HEADER + LINK_REPLY + 4, caps_of_channel(conn->type));
            say(conn, reply, sizeof reply);
            at += conn->mess_bytes;
            conn->phase = TICKET;
            more = true;
        } else if (conn->phase == TICKET && have >= 4 + SEALED) {
            static const uint8_t ok[4];
            if (!opens(data + 4))
                return false;
            say(conn, ok, sizeof ok);
            on_linked(conn);
            at += 4 + SEALED;
            conn->phase = RELAY;
            more = true;
        } else if (conn->phase == RELAY && conn->skip && have) {
            size_t gone = have < conn->skip ? have : conn->skip;
            conn->skip -= gone;
            at += gone;
            more = true;
        } else if (conn->phase == RELAY && have >= MINI) {
            uint32_t bytes = get32(data + 2);
            if (bytes > sizeof conn->in - MINI) {
                conn->skip = bytes;
                at += MINI;
                more = true;
            } else if (have >= MINI + bytes) {
                on_message(conn, get16(data), data + MINI, bytes);
                at += MINI + bytes;
                more = true;
            }
        }
    }
    memmove(conn->in, conn->in + at, conn->have -= at);
    return true;
}

static void on_readable(struct conn *conn)
{
    ssize_t got = recv(conn->fd, conn->in + conn->have, sizeof conn->in - conn->have, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got > 0)
        conn->have += (size_t)got;
    if (got <= 0 || !advance(conn) || !pump(conn))
        drop(conn);
}

static void accept_all(void)
{
    for (int fd; (fd = accept4(door, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        struct conn *conn = calloc(1, sizeof *conn);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
        if (!conn)
            die("no memory for a connection");
        no_delay(fd);
        conn->fd = fd;
        conn->events = EPOLLIN;
        conn->next = conns;
        if (conns)
            conns->previous = conn;
        conns = conn;
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

static void on_tick(void)
{
    uint64_t ticks = 0;
    if (read(ticker, &ticks, sizeof ticks) < 0)
        return;
    for (struct conn *conn = conns, *after; conn; conn = after) {
        after = conn->next;
        if (!conn->blast || conn->rate <= 0)
            continue;
        conn->credit += conn->rate * (double)ticks;
        if (conn->credit > 8 * conn->rate + SEND_AT_ONCE)
            conn->credit = 8 * conn->rate + SEND_AT_ONCE;
        if (!pump(conn)) {
            drop(conn);
            return; /* its session may be gone with it: the next tick looks at the others */
        }
    }
}

static void tick(bool on)
{
    static bool ticking;
    struct itimerspec every = {{0, on ? TICK_NS : 0}, {0, on ? TICK_NS : 0}};
    if (on != ticking)
        timerfd_settime(ticker, 0, &every, NULL);
    ticking = on;
}

static void make_key(void)
{
    EVP_PKEY *key = EVP_RSA_gen(1024);
    uint8_t *at = public_key;
    if (!key || i2d_PUBKEY(key, NULL) != PUBLIC_KEY || i2d_PUBKEY(key, &at) != PUBLIC_KEY)
        die("no RSA key");
    private_key = key;
}

int main(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t bytes = sizeof address;
    struct epoll_event events[256];
    many_descriptors();
    make_key();
    poller = epoll_create1(0);
    ticker = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    door = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    congestion_control(door); /* what it accepts inherits it */
    if (bind(door, (struct sockaddr *)&address, bytes) || listen(door, 4096) ||
        getsockname(door, (struct sockaddr *)&address, &bytes))
        die("cannot listen");
    for (int fixed = 0; fixed < 3; fixed++) {
        int fd = fixed == 0 ? door : fixed == 1 ? ticker : STDIN_FILENO;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = fixed == 0   ? &door
                                                                   : fixed == 1 ? &ticker
                                                                                : NULL};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event))
            die("cannot watch descriptor %d", fd);
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(poller, events, 256, -1);
        for (int index = 0; index < count; index++) {
            void *what = events[index].data.ptr;
            struct conn *conn = what;
            if (!what) {
                return 0;
            } else if (what == &door) {
                accept_all();
            } else if (what == &ticker) {
                on_tick();
            } else if (conn->fd >= 0) {
                if (events[index].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                    on_readable(conn);
                if (conn->fd >= 0 && events[index].events & EPOLLOUT && !pump(conn))
                    drop(conn);
                if (conn->fd >= 0 && conn->blast && conn->rate > 0)
                    tick(true);
            }
        }
        while (doomed) {
            struct conn *after = doomed->next;
            free(doomed);
            doomed = after;
        }
        bool rated = false;
        for (struct conn *each = conns; each && !rated; each = each->next)
            rated = each->blast && each->rate > 0;
        tick(rated);
    }
}
