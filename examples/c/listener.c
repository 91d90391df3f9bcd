/* listener.c - a service for Python programs, which need nothing but their standard library: it counts
 * the words of each message. listener_client.py is such a program.
 *
 *     ./listener &        tells where it listens
 *     python3 examples/c/listener_client.py ADDRESS
 */
#include "check.h"
#include <ctype.h>
#include <errno.h>
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>

static const char key[] = "secret password";

static int count_words(const char *text, size_t size)
{
    int words = 0;
    for (size_t i = 0; i < size; i++)
        words += !isspace(text[i]) && (i == 0 || isspace(text[i - 1]));
    return words;
}

/* Until the client closes its end. */
static void serve(shoal_connection *client)
{
    char answer[20];
    void *text;
    size_t size;
    int rc;
    while (!(rc = shoal_connection_recv_bytes(client, &text, &size, SHOAL_FOREVER))) {
        int length = snprintf(answer, sizeof answer, "%d words", count_words(text, size));
        check(shoal_connection_send_bytes(client, answer, (size_t)length, SHOAL_FOREVER));
        free(text);
    }
    if (rc != -EPIPE)
        check(rc);
}

int main(void)
{
    shoal_listener *listener;
    shoal_address address;
    shoal_connection *client = NULL;
    shoal_listener_options options = {.authkey = key, .authkey_size = sizeof key - 1};

    check(shoal_listener_create(&listener, NULL, &options));
    check(shoal_listener_address(listener, &address));
    printf("listening at %s\n", address.path);
    fflush(stdout);

    /* Who does not know the key is told apart, and the next one is welcome. */
    int rc;
    while ((rc = shoal_listener_accept(listener, &client, SHOAL_FOREVER)) < 0)
        printf("refused: %s\n", shoal_strerror(rc));
    serve(client);
    shoal_connection_close(client);
    shoal_listener_close(listener);
    puts("done");
    return 0;
}
