/* 003_pipe_talk.c - parent and child talk: a dict goes one way, a set the other. */
#include "check.h"
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 26 }; /* members that are shown */

struct ends {
    shoal_connection *parent, *child;
};

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A set of strs has no order of its own. */
static void print_sorted(const shoal_any *set)
{
    const char *texts[MOST] = {NULL};
    const shoal_any *member;
    int n = 0;

    for (; n < MOST && n < shoal_any_count(set); n++) {
        check(shoal_any_at(set, n, &member));
        check(shoal_any_as_str(member, &texts[n], NULL));
    }
    qsort(texts, (size_t)n, sizeof texts[0], compare);
    printf("[");
    for (int i = 0; i < n; i++)
        printf("%s'%s'", i ? ", " : "", texts[i]);
    printf("]\n");
}

static int talk(void *argument)
{
    const struct ends *ends = argument;
    shoal_any *bob, *reply;

    shoal_connection_close(ends->parent); /* the parent's alone: if it dies, recv says so */
    bob = shoal_any_dict(shoal_any_str("name"), shoal_any_str("Bob"), /* a key and its value */
                         shoal_any_str("spam"), shoal_any_int(42));
    check(shoal_connection_send(ends->child, bob, SHOAL_FOREVER));
    shoal_any_free(bob);

    check(shoal_connection_recv(ends->child, &reply, SHOAL_FOREVER));
    printf("talker got: ");
    print_sorted(reply);
    shoal_any_free(reply);
    shoal_connection_close(ends->child);
    return 0;
}

int main(void)
{
    struct ends ends;
    shoal_process *child;
    shoal_any *heard, *reply = shoal_any_set();
    char *text;

    check(shoal_pipe(&ends.parent, &ends.child, NULL));
    check(shoal_process_start(&child, talk, &ends, NULL));
    shoal_connection_close(ends.child);

    check(shoal_connection_recv(ends.parent, &heard, SHOAL_FOREVER));
    check(shoal_any_repr(heard, &text));
    printf("parent got: %s\n", text);
    fflush(stdout); /* before the child answers */
    free(text);
    shoal_any_free(heard);

    for (const char *c = "spam"; *c; c++)
        check(shoal_any_add(reply, shoal_any_str((char[]){*c, *c, '\0'})));
    check(shoal_connection_send(ends.parent, reply, SHOAL_FOREVER));
    shoal_any_free(reply);

    check(shoal_process_join(child, SHOAL_FOREVER));
    check(shoal_process_close(child));
    printf("parent exit\n");
    shoal_connection_close(ends.parent);
    return 0;
}
