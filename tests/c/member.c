/* A program that tests start by exec: a member of the family once it calls shoal. Its first
 * argument says what it does. */
#include <errno.h>
#include <shoal/shoal.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Opens the memory whose reference is given as text and adds 1 to its first number. */
static int count(const char *text)
{
    shoal_reference r;
    shoal_memory *m;
    unsigned long family;
    if (sscanf(text, "%lx:%u:%u", &family, &r.id, &r.generation) != 3)
        return 2;
    r.family = family;
    if (shoal_memory_open(&m, &r))
        return 3;
    __atomic_fetch_add((long *)shoal_memory_address(m), 1, __ATOMIC_SEQ_CST);
    shoal_memory_close(m);
    return 0;
}

/* Puts a message into the queue whose reference is given as text; and dies at once. */
static int put(const char *text, int dies)
{
    shoal_reference r;
    shoal_queue *q;
    unsigned long family;
    if (sscanf(text, "%lx:%u:%u", &family, &r.id, &r.generation) != 3)
        return 2;
    r.family = family;
    if (shoal_queue_open(&q, &r) || shoal_queue_put_bytes(q, "x", 1, SHOAL_FOREVER))
        return 3;
    if (dies)
        raise(SIGKILL);
    shoal_queue_close(q);
    return 0;
}

static int nothing(void *argument)
{
    return argument != NULL;
}

static int child_named(const char *name)
{
    shoal_process *p;
    if (shoal_process_start(&p, nothing, NULL, NULL))
        return 2;
    int rc = strcmp(shoal_process_name(p), name);
    shoal_process_join(p, SHOAL_FOREVER);
    shoal_process_close(p);
    return rc ? 3 : 0;
}

static int wait_for_ever(void)
{
    while (pause() < 0)
        ;
    return 0;
}

/* Joins, forks a child that knows nothing of it, and stays. */
static int stay(const char *reference)
{
    int rc = count(reference);
    pid_t pid = fork();
    if (!pid)
        rc = count(reference);
    return rc || pid < 0 ? 2 : wait_for_ever();
}

int main(int n, char **arguments)
{
    const char *what = n > 1 ? arguments[1] : "", *argument = n > 2 ? arguments[2] : "";
    if (!strcmp(what, "exit"))
        return atoi(argument);
    if (!strcmp(what, "count"))
        return count(argument);
    if (!strcmp(what, "put") || !strcmp(what, "die"))
        return put(argument, *what == 'd');
    if (!strcmp(what, "name"))
        return strcmp(shoal_process_name(shoal_process_current()), argument) ? 2 : 0;
    if (!strcmp(what, "child"))
        return child_named(argument);
    if (!strcmp(what, "parent"))
        return shoal_process_pid(shoal_process_parent()) == atoi(argument) ? 0 : 2;
    if (!strcmp(what, "sleep"))
        return wait_for_ever();
    if (!strcmp(what, "key"))
        return count(argument) || shoal_process_authkey((unsigned char[64]){0}, 64) != 3;
    if (!strcmp(what, "join"))
        return count(argument) || wait_for_ever();
    if (!strcmp(what, "stay"))
        return stay(argument);
    return 1;
}
