/* A peer for programs in other languages (tests/python):
 *
 *     shoal-peer listen ADDRESS KEY    accepts, prints `at ADDRESS`, then for each peer `accept RESULT`; sends every
 *                                      message back until the peer goes, prints `echoed N`. Ends when standard input does.
 *     shoal-peer repeat ADDRESS KEY    the same, but receives anys and sends them; 'not an any' for what is none
 *     shoal-peer connect ADDRESS KEY   prints `client RESULT`; sends messages of many sizes, which must come
 *                                      back, prints `echoed N`
 *
 * ADDRESS is /a/path, @an-abstract-name, or HOST:PORT. KEY - is none.
 */
#include <errno.h>
#include <poll.h>
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static shoal_address parse(char *text)
{
    shoal_address a = {0};
    char *colon = strrchr(text, ':');
    if (text[0] == '/') {
        a.path = text;
    } else if (text[0] == '@') {
        a.path_size = strlen(text);
        text[0] = 0;
        a.path = text;
    } else if (colon) {
        *colon = 0;
        a.host = text;
        a.port = (unsigned)atoi(colon + 1);
    }
    return a;
}

static void must(int rc, const char *what)
{
    if (rc < 0) {
        printf("%s: %d %s\n", what, rc, shoal_error_detail());
        exit(1);
    }
}

static void echo(shoal_connection *c)
{
    void *bytes;
    size_t size;
    int rc, n = 0;
    while ((rc = shoal_connection_recv_bytes(c, &bytes, &size, SHOAL_FOREVER)) >= 0) {
        must(shoal_connection_send_bytes(c, bytes, size, SHOAL_FOREVER), "send");
        free(bytes);
        n++;
    }
    if (rc != -EPIPE)
        must(rc, "recv");
    printf("echoed %d\n", n);
    shoal_connection_close(c);
}

static void repeat(shoal_connection *c)
{
    shoal_any *any;
    int rc, n = 0;
    while ((rc = shoal_connection_recv(c, &any, SHOAL_FOREVER)) != -EPIPE) {
        if (rc == -EBADMSG)
            any = shoal_any_str("not an any");
        else
            must(rc, "recv");
        must(shoal_connection_send(c, any, SHOAL_FOREVER), "send");
        shoal_any_free(any);
        n++;
    }
    printf("echoed %d\n", n);
    shoal_connection_close(c);
}

static void serve(shoal_address *where, const shoal_listener_options *options,
                  void (*each)(shoal_connection *))
{
    shoal_listener *l;
    shoal_address at;
    must(shoal_listener_create(&l, where, options), "create");
    must(shoal_listener_address(l, &at), "address");
    if (at.host)
        printf("at %s:%u\n", at.host, at.port);
    else
        printf("at %c%s\n", at.path[0] ? at.path[0] : '@', at.path + 1);
    fflush(stdout);
    struct pollfd fds[2] = {{.fd = 0, .events = POLLIN},
                            {.fd = shoal_listener_fileno(l), .events = POLLIN}};
    while (poll(fds, 2, -1) > 0 && !fds[0].revents) {
        shoal_connection *c = NULL;
        int rc = shoal_listener_accept(l, &c, SHOAL_FOREVER);
        printf("accept %d\n", rc);
        if (!rc)
            each(c);
        fflush(stdout);
    }
    shoal_listener_close(l);
}

static const size_t sizes[] = {0, 1, 5, 16384, 16385, 100000, 5000001};

static void talk(shoal_connection *c)
{
    int n = 0;
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++, n++) {
        unsigned char *bytes = malloc(sizes[i] + 1);
        void *back;
        size_t size;
        if (!bytes)
            exit(1);
        for (size_t k = 0; k < sizes[i]; k++)
            bytes[k] = (unsigned char)(k * 7 + i + (k >> 9));
        must(shoal_connection_send_bytes(c, bytes, sizes[i], SHOAL_FOREVER), "send");
        must(shoal_connection_recv_bytes(c, &back, &size, SHOAL_FOREVER), "recv");
        if (size != sizes[i] || memcmp(bytes, back, size)) {
            printf("%zu bytes came back as %zu others\n", sizes[i], size);
            exit(1);
        }
        free(bytes);
        free(back);
    }
    printf("echoed %d\n", n);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    shoal_address where = parse(argv[2]);
    bool keyed = strcmp(argv[3], "-");
    unsigned flags = keyed ? 0 : SHOAL_NO_AUTHKEY;
    if (strcmp(argv[1], "connect")) {
        serve(&where,
              &(shoal_listener_options){.flags = flags,
                                        .authkey = argv[3],
                                        .authkey_size = strlen(argv[3])},
              strcmp(argv[1], "repeat") ? echo : repeat);
        return 0;
    }
    shoal_connection *c;
    shoal_client_options options = {flags, argv[3], strlen(argv[3])};
    int rc = shoal_client(&c, &where, &options, SHOAL_FOREVER);
    printf("client %d\n", rc);
    if (!rc) {
        talk(c);
        shoal_connection_close(c);
    }
    return 0;
}
