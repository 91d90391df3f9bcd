/* listener.c - a service for Python programs, which need nothing but their standard library: it adds
 * up lists of numbers. listener_client.py is such a program.
 *
 *     ./listener &        tells where it listens
 *     python3 examples/c/listener_client.py ADDRESS
 */
#include "check.h"
#include <errno.h>
#include <shoal/shoal.h>
#include <stdio.h>

static const char key[] = "secret password";

/* {'count': …, 'sum': …}, or a ValueError for what is not a list of numbers. */
static shoal_any *sum_up(const shoal_any *list)
{
    int64_t count = shoal_any_count(list);
    double sum = 0, number = 0;
    const shoal_any *item;
    int rc = count < 0 ? (int)count : 0;
    for (int64_t i = 0; i < count && !rc; i++) {
        rc = shoal_any_at(list, i, &item);
        if (!rc)
            rc = shoal_any_as_float(item, &number);
        sum += number;
    }
    if (rc)
        return shoal_any_construct("ValueError",
                                   shoal_any_tuple(shoal_any_str(shoal_error_detail())));
    return shoal_any_dict(shoal_any_str("count"), shoal_any_int(count), /* a key and its value */
                          shoal_any_str("sum"), shoal_any_float(sum));
}

/* Until the client closes its end. */
static void serve(shoal_connection *client)
{
    shoal_any *list, *answer;
    int rc;
    while (!(rc = shoal_connection_recv(client, &list, SHOAL_FOREVER))) {
        answer = sum_up(list);
        check(shoal_connection_send(client, answer, SHOAL_FOREVER));
        shoal_any_free(answer);
        shoal_any_free(list);
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
