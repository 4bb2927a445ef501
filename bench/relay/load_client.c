/* A fake viewer: links channels like one, then loads whatever is between it and load_server.
 *
 *   load_client drain|ping|verify|storm|storm-main|idle|stall [NAME=VALUE …]
 *
 * The token of its tickets is LOAD_TOKEN in the environment.
 *
 * Prints `begin` and `end` round what is to be timed, so that its caller can read the CPU seconds
 * of others there, then one JSON object. `idle` and `stall` print `ready` and wait for the end of
 * standard input.
 *
 * When throughput is measured the ciphertext is thrown away unread (MSG_TRUNC), for a client that
 * decrypts is slower than a good relay; the first bytes of every channel are decrypted and checked,
 * and say how many bytes of records carry how many of messages.
 */
#include "load.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>

enum { CHANNELS_MAX = 2000, SAMPLES_MAX = 4000000, BUFFER = 256 * 1024, TRIES = 64 };

static int port, channels = 1, body = 65536, rate, messages = 1, at_once = 1, beside;
static double seconds = 1, warm_up = 0.2;
static bool tls;
static char token[64] = "bench";
static SSL_CTX *context;

struct channel {
    int fd;
    SSL *ssl;
    uint64_t sent_at;
    /* what was read of the blast */
    uint32_t body, at, acked, generation, window;
    uint8_t header[MINI], have;
    uint64_t messages, plain;
};

/* -- bytes */

static void close_channel(struct channel *channel)
{
    SSL_free(channel->ssl);
    if (channel->fd >= 0)
        close(channel->fd);
    *channel = (struct channel){.fd = -1};
}

/* At least one byte; 0 when the peer has gone, -1 when there is nothing now. */
static int get_some(struct channel *channel, void *into, int bytes)
{
    if (!channel->ssl) {
        ssize_t got = recv(channel->fd, into, (size_t)bytes, 0);
        return got >= 0 ? (int)got : errno == EAGAIN ? -1 : 0;
    }
    int got = SSL_read(channel->ssl, into, bytes);
    if (got > 0)
        return got;
    return SSL_get_error(channel->ssl, got) == SSL_ERROR_WANT_READ ? -1 : 0;
}

static bool get_all(struct channel *channel, void *into, int bytes)
{
    for (int got, at = 0; at < bytes; at += got)
        if ((got = get_some(channel, (uint8_t *)into + at, bytes - at)) <= 0)
            return false;
    return true;
}

static bool put_all(struct channel *channel, const void *from, int bytes)
{
    if (channel->ssl)
        return SSL_write(channel->ssl, from, bytes) == bytes;
    return send(channel->fd, from, (size_t)bytes, MSG_NOSIGNAL) == bytes;
}

static bool put_message(struct channel *channel, uint16_t type, const void *data, int bytes)
{
    uint8_t message[MINI + 64];
    put16(message, type);
    put32(message + 2, (uint32_t)bytes);
    memcpy(message + MINI, data, (size_t)bytes);
    return put_all(channel, message, MINI + bytes);
}

static bool get_message(struct channel *channel, uint16_t type, void *into, int bytes)
{
    uint8_t header[MINI];
    return get_all(channel, header, MINI) && get16(header) == type &&
           get32(header + 2) == (uint32_t)bytes && get_all(channel, into, bytes);
}

/* -- the link stage, blocking */

/* The ticket under that key, made anew for each link as a viewer does. */
static void seal(const uint8_t *key_der, uint8_t *sealed)
{
    const uint8_t *at = key_der;
    size_t bytes = SEALED;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, PUBLIC_KEY);
    EVP_PKEY_CTX *work = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    if (!work || EVP_PKEY_encrypt_init(work) <= 0 ||
        EVP_PKEY_CTX_set_rsa_padding(work, RSA_PKCS1_OAEP_PADDING) <= 0 ||
        EVP_PKEY_encrypt(work, sealed, &bytes, (const uint8_t *)token, strlen(token) + 1) <= 0)
        die("the ticket cannot be sealed");
    EVP_PKEY_CTX_free(work);
    EVP_PKEY_free(key);
}

/* Connect, TLS, link; on an error what failed, NULL when all is well. */
static const char *try_link(struct channel *channel, uint32_t session, int type, int id)
{
    struct sockaddr_in address = loopback(port);
    struct timeval patience = {.tv_sec = 20};
    uint8_t mess[LINK_HEADER + LINK_MESS + 8] = "REDQ", header[LINK_HEADER], reply[4096];
    uint8_t ticket[4 + SEALED] = {1}, result[4];

    *channel = (struct channel){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    congestion_control(channel->fd);
    if (channel->fd < 0 || connect(channel->fd, (struct sockaddr *)&address, sizeof address))
        return "connect";
    no_delay(channel->fd);
    setsockopt(channel->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (tls) {
        channel->ssl = SSL_new(context);
        SSL_set_fd(channel->ssl, channel->fd);
        if (SSL_connect(channel->ssl) != 1)
            return "TLS";
    }
    put32(mess + 4, 2);
    put32(mess + 8, 2);
    put32(mess + 12, LINK_MESS + 8);
    put32(mess + 16, session);
    mess[20] = (uint8_t)type;
    mess[21] = (uint8_t)id;
    put32(mess + 22, 1);
    put32(mess + 26, 1);
    put32(mess + 30, LINK_MESS);
    put32(mess + 34, COMMON_CAPS);
    put32(mess + 38, caps_of_channel(type));
    if (!put_all(channel, mess, sizeof mess))
        return "request";
    if (!get_all(channel, header, sizeof header) || get32(header + 12) > sizeof reply ||
        get32(header + 12) < LINK_REPLY || !get_all(channel, reply, (int)get32(header + 12)))
        return "reply";
    if (get32(reply))
        return "reply with an error";
    seal(reply + 4, ticket + 4);
    if (!put_all(channel, ticket, sizeof ticket) || !get_all(channel, result, sizeof result))
        return "result";
    return get32(result) ? "ticket refused" : NULL;
}

static void link_main(struct channel *channel, uint32_t *session)
{
    uint8_t init[32], listed[10];
    const char *problem = try_link(channel, 0, MAIN, 0);
    if (problem)
        die("MAIN: %s", problem);
    if (!get_message(channel, MAIN_INIT, init, sizeof init) ||
        !put_message(channel, ATTACH_CHANNELS, NULL, 0) ||
        !get_message(channel, CHANNELS_LIST, listed, sizeof listed))
        die("MAIN: no INIT or no list");
    *session = get32(init);
}

/* A channel of a session. Where several workers share a port it may take several tries. */
static void link_later(struct channel *channel, uint32_t session, int type, int id)
{
    const char *problem = "";
    uint8_t in[8], display_init[14] = {1};
    for (int tries = 0; problem && tries < TRIES; tries++)
        if ((problem = try_link(channel, session, type, id)))
            close_channel(channel);
    if (problem)
        die("channel %d.%d: %s", type, id, problem);
    if (type == DISPLAY) {
        display_init[9] = 1; /* no cache, dictionary 1 of no size */
        if (!put_message(channel, DISPLAY_INIT, display_init, sizeof display_init))
            die("display: gone before its INIT");
    }
    if (type == DISPLAY || type == CURSOR) {
        if (!get_message(channel, SET_ACK, in, sizeof in) ||
            !put_message(channel, ACK_SYNC, in, 4))
            die("channel %d: no SET_ACK", type);
        channel->window = get32(in + 4);
    }
    if (type == INPUTS && !get_message(channel, INPUTS_INIT, in, 2))
        die("inputs: no INIT");
}

static void blast(struct channel *channel, int size, int mbytes, int count)
{
    uint32_t report[REPORT_WORDS] = {0, (uint32_t)size, (uint32_t)mbytes, (uint32_t)count};
    if (!put_message(channel, STREAM_REPORT, report, sizeof report))
        die("display: gone before it was asked to send");
}

/* -- reading a blast and checking every byte of it */

static bool check(struct channel *channel, const uint8_t *data, int bytes)
{
    channel->plain += (uint64_t)bytes;
    while (bytes) {
        if (channel->have < MINI) {
            channel->header[channel->have++] = *data++;
            bytes--;
            if (channel->have < MINI)
                continue;
            channel->body = get32(channel->header + 2);
            channel->at = 0;
            if (get16(channel->header) != DRAW_COPY || channel->body != (uint32_t)body)
                return false;
        }
        uint32_t part = channel->body - channel->at;
        if (part > (uint32_t)bytes)
            part = (uint32_t)bytes;
        for (uint32_t index = 0; index < part; index++)
            if (data[index] != filler(channel->at + index))
                return false;
        channel->at += part;
        data += part;
        bytes -= (int)part;
        if (channel->at < channel->body)
            continue;
        channel->have = 0;
        channel->messages++;
        if (++channel->acked == channel->window) {
            channel->acked = 0;
            put_message(channel, ACK, NULL, 0);
        }
    }
    return true;
}

static uint64_t wire_bytes(struct channel *channel)
{
    return channel->ssl ? BIO_number_read(SSL_get_rbio(channel->ssl)) : channel->plain;
}

/* -- modes */

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

static void wait_for_caller(void)
{
    char byte;
    say("ready");
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
}

static int by_value(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static double quantile(const uint32_t *sorted, size_t count, double share)
{
    size_t rank = (size_t)((double)count * share);
    return count ? sorted[rank < count ? rank : count - 1] / 1000.0 : 0;
}

static int watch_all(struct channel *all, int count)
{
    int poller = epoll_create1(0);
    for (int index = 0; index < count; index++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[index]};
        epoll_ctl(poller, EPOLL_CTL_ADD, all[index].fd, &event);
    }
    return poller;
}

/* Throw away what is there without looking, at most half a MiB. */
static uint64_t discard(struct channel *channel)
{
    ssize_t got = recv(channel->fd, NULL, 512 * 1024, MSG_TRUNC | MSG_DONTWAIT);
    if (!got || (got < 0 && errno != EAGAIN))
        die("a display ended while it was drained");
    return got > 0 ? (uint64_t)got : 0;
}

static void drain(void)
{
    static struct channel all[CHANNELS_MAX];
    static uint8_t buffer[BUFFER];
    struct channel mains[CHANNELS_MAX];
    uint64_t wire = 0, plain = 0, total = 0, begun, until;
    struct epoll_event events[64];
    for (int index = 0; index < channels; index++) {
        uint32_t session;
        link_main(&mains[index], &session);
        link_later(&all[index], session, DISPLAY, 0);
        blast(&all[index], body, rate, 0);
    }
    for (until = now_ns() + (uint64_t)(warm_up * 1e9); now_ns() < until || !plain;)
        for (int index = 0; index < channels; index++) {
            int got = get_some(&all[index], buffer, BUFFER);
            if (got <= 0 || !check(&all[index], buffer, got))
                die("display %d: what came is not what was sent", index);
            plain += (uint64_t)got;
        }
    for (int index = 0; index < channels; index++)
        wire += wire_bytes(&all[index]);
    int poller = watch_all(all, channels);
    say("begin");
    begun = now_ns();
    for (until = begun + (uint64_t)(seconds * 1e9); now_ns() < until;) {
        int count = epoll_wait(poller, events, 64, 1000);
        for (int index = 0; index < count; index++)
            total += discard(events[index].data.ptr);
    }
    double took = (double)(now_ns() - begun) / 1e9;
    say("end");
    printf("{\"seconds\": %.4f, \"bytes\": %.0f, \"overhead\": %.5f}\n", took,
           (double)total * (double)plain / (double)wire, (double)wire / (double)plain - 1);
}

/* A whole number of messages, every byte checked. */
static void verify(void)
{
    static uint8_t buffer[BUFFER];
    struct channel main_channel, display;
    uint32_t session;
    uint64_t begun;
    int got = 1;
    link_main(&main_channel, &session);
    link_later(&display, session, DISPLAY, 0);
    say("begin");
    begun = now_ns();
    blast(&display, body, 0, messages);
    while (display.messages < (uint64_t)messages &&
           (got = get_some(&display, buffer, BUFFER)) > 0 && check(&display, buffer, got))
        ;
    double took = (double)(now_ns() - begun) / 1e9;
    say("end");
    printf("{\"seconds\": %.4f, \"bytes\": %llu, \"messages\": %llu, \"whole\": %s}\n", took,
           (unsigned long long)display.plain, (unsigned long long)display.messages,
           display.messages == (uint64_t)messages ? "true" : "false");
}

static bool press(struct channel *channel)
{
    static const uint8_t key_a[4] = {0x1e};
    channel->sent_at = now_ns();
    return put_message(channel, KEY_DOWN, key_a, sizeof key_a);
}

/* A key on each of `channels` inputs, over and over; `beside` MB/s of display in the same session. */
static void ping(void)
{
    static struct channel inputs[CHANNELS_MAX];
    struct channel main_channel, display = {.fd = -1};
    struct epoll_event events[64];
    uint32_t session, *samples = malloc(SAMPLES_MAX * sizeof *samples);
    uint8_t answer[MINI + 2];
    size_t count = 0;
    uint64_t display_bytes = 0, begun = 0, start = now_ns();
    link_main(&main_channel, &session);
    for (int index = 0; index < channels; index++)
        link_later(&inputs[index], session, INPUTS, index);
    int poller = watch_all(inputs, channels);
    if (beside) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &display};
        link_later(&display, session, DISPLAY, 0);
        blast(&display, body, beside, 0);
        epoll_ctl(poller, EPOLL_CTL_ADD, display.fd, &event);
    }
    uint64_t warm = start + (uint64_t)(warm_up * 1e9), until = warm + (uint64_t)(seconds * 1e9);
    bool alone = channels == 1 && !beside;
    for (int index = 0; index < channels; index++)
        if (!press(&inputs[index]))
            die("inputs: gone");
    for (uint64_t at = now_ns(); at < until;) {
        events[0].data.ptr = &inputs[0];
        int ready = alone ? 1 : epoll_wait(poller, events, 64, 1000);
        for (int index = 0; index < ready; index++) {
            struct channel *channel = events[index].data.ptr;
            if (channel == &display) {
                display_bytes += discard(&display);
                continue;
            }
            if (!get_all(channel, answer, sizeof answer) || get16(answer) != KEY_MODIFIERS)
                die("inputs: no answer to a key");
            at = now_ns();
            if (!begun && at >= warm) {
                begun = at;
                display_bytes = 0;
                say("begin");
            } else if (begun && count < SAMPLES_MAX) {
                samples[count++] = (uint32_t)(at - channel->sent_at);
            }
            if (!press(channel))
                die("inputs: gone");
        }
        if (!ready)
            die("inputs: no answer within a second");
    }
    double took = (double)(now_ns() - begun) / 1e9;
    say("end");
    qsort(samples, count, sizeof *samples, by_value);
    printf("{\"seconds\": %.4f, \"trips\": %zu, \"p50\": %.2f, \"p99\": %.2f, \"max\": %.1f, "
           "\"beside\": %.1f}\n",
           took, count, quantile(samples, count, 0.5), quantile(samples, count, 0.99),
           quantile(samples, count, 1), (double)display_bytes / took / 1e6);
}

static uint32_t storm_session; /* 0: a session of its own each time */
static uint64_t storm_until;
static uint32_t *storm_samples;
static size_t storm_count, storm_failed;

static void *storm_thread(void *number)
{
    static const int types[] = {INPUTS, PLAYBACK};
    int base = (int)(intptr_t)number, turn = 0;
    for (uint64_t before; (before = now_ns()) < storm_until; turn++) {
        struct channel channel;
        const char *problem;
        if (storm_session) /* ids in turns: one is free again once the proxy has seen its end */
            problem = try_link(&channel, storm_session, types[turn / 16 % 2],
                               (turn % 16 * at_once + base) % 256);
        else
            problem = try_link(&channel, 0, MAIN, 0);
        uint64_t took = now_ns() - before;
        close_channel(&channel);
        if (problem) {
            if (!__atomic_fetch_add(&storm_failed, 1, __ATOMIC_RELAXED))
                fprintf(stderr, "storm: %s\n", problem);
            continue;
        }
        size_t index = __atomic_fetch_add(&storm_count, 1, __ATOMIC_RELAXED);
        if (index < SAMPLES_MAX)
            storm_samples[index] = (uint32_t)(took > UINT32_MAX ? UINT32_MAX : took);
    }
    return NULL;
}

static void storm(bool mains)
{
    pthread_t threads[CHANNELS_MAX];
    struct channel main_channel = {.fd = -1};
    storm_samples = malloc(SAMPLES_MAX * sizeof *storm_samples);
    if (!mains)
        link_main(&main_channel, &storm_session);
    say("begin");
    uint64_t begun = now_ns();
    storm_until = begun + (uint64_t)(seconds * 1e9);
    for (int index = 0; index < at_once; index++)
        pthread_create(&threads[index], NULL, storm_thread, (void *)(intptr_t)index);
    for (int index = 0; index < at_once; index++)
        pthread_join(threads[index], NULL);
    double took = (double)(now_ns() - begun) / 1e9;
    say("end");
    qsort(storm_samples, storm_count, sizeof *storm_samples, by_value);
    printf("{\"seconds\": %.4f, \"links\": %zu, \"failed\": %zu, \"p50\": %.1f, \"p99\": %.1f}\n",
           took, storm_count, storm_failed, quantile(storm_samples, storm_count, 0.5),
           quantile(storm_samples, storm_count, 0.99));
}

/* Sessions of five channels that do nothing. */
static void idle(void)
{
    static const int types[] = {DISPLAY, INPUTS, CURSOR, PLAYBACK};
    static struct channel all[CHANNELS_MAX];
    uint32_t session = 0;
    for (int index = 0; index < channels; index++) {
        if (index % 5 == 0)
            link_main(&all[index], &session);
        else
            link_later(&all[index], session, types[index % 5 - 1], 0);
    }
    wait_for_caller();
    puts("{}");
}

/* Displays that are sent to and do not read: links, waits for a line, has all of them blast. */
static void stall(void)
{
    static struct channel all[CHANNELS_MAX], mains[CHANNELS_MAX];
    char line[16];
    for (int index = 0; index < channels; index++) {
        uint32_t session;
        link_main(&mains[index], &session);
        link_later(&all[index], session, DISPLAY, 0);
    }
    say("ready");
    if (!fgets(line, sizeof line, stdin))
        return;
    for (int index = 0; index < channels; index++)
        blast(&all[index], body, 0, 0);
    wait_for_caller();
    puts("{}");
}

static void set(const char *name, const char *value)
{
    struct { const char *name; int *at; } numbers[] = {
        {"port", &port}, {"channels", &channels}, {"body", &body}, {"rate", &rate},
        {"messages", &messages}, {"at-once", &at_once}, {"beside", &beside},
    };
    for (size_t index = 0; index < sizeof numbers / sizeof *numbers; index++)
        if (!strcmp(name, numbers[index].name)) {
            *numbers[index].at = atoi(value);
            return;
        }
    if (!strcmp(name, "seconds"))
        seconds = atof(value);
    else if (!strcmp(name, "warm-up"))
        warm_up = atof(value);
    else if (!strcmp(name, "tls"))
        tls = strcmp(value, "none") != 0;
    else
        die("there is no %s", name);
    if (!strcmp(name, "tls") && tls) {
        int version = !strcmp(value, "1.2") ? TLS1_2_VERSION : TLS1_3_VERSION;
        context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_min_proto_version(context, version);
        SSL_CTX_set_max_proto_version(context, version);
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    }
}

int main(int count, char **words)
{
    const char *mode = count > 1 ? words[1] : "";
    const char *secret = getenv("LOAD_TOKEN");
    if (secret)
        snprintf(token, sizeof token, "%s", secret);
    many_descriptors();
    signal(SIGPIPE, SIG_IGN);
    for (int index = 2; index < count; index++) {
        char *equals = strchr(words[index], '=');
        if (!equals)
            die("%s is not NAME=VALUE", words[index]);
        *equals = 0;
        set(words[index], equals + 1);
    }
    if (channels < 1 || channels > CHANNELS_MAX || at_once < 1 || at_once > 64)
        die("channels go from 1 to %d, at-once from 1 to 64", CHANNELS_MAX);
    if (!strcmp(mode, "drain"))
        drain();
    else if (!strcmp(mode, "verify"))
        verify();
    else if (!strcmp(mode, "ping"))
        ping();
    else if (!strcmp(mode, "storm") || !strcmp(mode, "storm-main"))
        storm(!strcmp(mode, "storm-main"));
    else if (!strcmp(mode, "idle"))
        idle();
    else if (!strcmp(mode, "stall"))
        stall();
    else
        die("there is no mode %s", mode);
    return 0;
}
