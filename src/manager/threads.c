/* Threads for calls that wait. One is started when a call comes and none is idle; some idle ones stay. A
 * call is its thread's until it is over and the loop has taken it back.
 *
 * A signal ends what a thread waits in, when nobody is there any more to be answered. It may come
 * before the thread sleeps, and be lost; so it is sent again until the call is over (threads_kick).
 */
#include "manager/manager.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { IDLE_MOST = 16, STACK = 512 << 10 };

struct worker {
    pthread_t thread;
    struct threads *of;
    shoal_call *call; /* NULL: idle */
    struct worker *next;
};
struct threads {
    pthread_mutex_t mutex;
    pthread_cond_t work, none;
    struct worker *workers;
    shoal_call *first, **last; /* that no thread has yet */
    shoal_call *over;
    unsigned n, idle, queued, most;
    bool stop;
    int fd;
};

static int signal_number(void)
{
    return SIGRTMAX - 3;
}

static void handler(int number)
{
    (void)number;
}

int threads_create(struct threads **ret, unsigned most)
{
    struct threads *t = calloc(1, sizeof *t);
    if (!t)
        return fail(-ENOMEM, "a manager: no memory for its threads");
    t->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->fd < 0) {
        int rc = -errno;
        free(t);
        return fail(rc, "a manager: eventfd: %s", strerror(-rc));
    }
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->work, NULL);
    pthread_cond_init(&t->none, NULL);
    t->most = most;
    t->last = &t->first;
    struct sigaction action = {.sa_handler = handler};
    sigaction(signal_number(), &action, NULL);
    *ret = t;
    return 0;
}

int threads_fd(const struct threads *t)
{
    return t->fd;
}

static void leave(struct threads *t, struct worker *w)
{
    struct worker **at = &t->workers;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    t->n--;
    free(w);
    if (!t->n)
        pthread_cond_signal(&t->none);
}

static void *work(void *argument)
{
    struct worker *w = argument;
    struct threads *t = w->of;
    pthread_mutex_lock(&t->mutex);
    for (;;) {
        while (!t->first && !t->stop && t->idle < IDLE_MOST) {
            t->idle++;
            pthread_cond_wait(&t->work, &t->mutex);
            t->idle--;
        }
        shoal_call *call = t->first;
        if (!call)
            break;
        t->first = call->next;
        if (!t->first)
            t->last = &t->first;
        t->queued--;
        w->call = call;
        pthread_mutex_unlock(&t->mutex);
        call_run(call);
        pthread_mutex_lock(&t->mutex);
        w->call = NULL;
        call->next = t->over;
        t->over = call;
        uint64_t one = 1;
        if (write(t->fd, &one, sizeof one) < 0 && errno != EAGAIN)
            abort(); /* a counter that is full wakes the loop as well */
    }
    leave(t, w);
    pthread_mutex_unlock(&t->mutex);
    return NULL;
}

/* Under the mutex. */
static int start(struct threads *t)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->of = t;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK);
    sigfillset(&all);
    sigdelset(&all, signal_number());
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&w->thread, &attributes, work, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (rc) {
        free(w);
        return -rc;
    }
    w->next = t->workers;
    t->workers = w;
    t->n++;
    return 0;
}

int threads_give(struct threads *t, shoal_call *call)
{
    int rc = 0;
    pthread_mutex_lock(&t->mutex);
    if (t->queued >= t->idle)
        rc = t->n < t->most ? start(t) : -EAGAIN;
    if (!rc) {
        call->next = NULL;
        *t->last = call;
        t->last = &call->next;
        t->queued++;
        pthread_cond_signal(&t->work);
    }
    pthread_mutex_unlock(&t->mutex);
    return rc ? fail(rc, "the manager has no thread for one more call that waits") : 0;
}

shoal_call *threads_take(struct threads *t)
{
    pthread_mutex_lock(&t->mutex);
    shoal_call *call = t->over;
    if (call)
        t->over = call->next;
    pthread_mutex_unlock(&t->mutex);
    return call;
}

void threads_kick(struct threads *t)
{
    pthread_mutex_lock(&t->mutex);
    for (struct worker *w = t->workers; w; w = w->next)
        if (w->call && w->call->session->gone)
            pthread_kill(w->thread, signal_number());
    pthread_mutex_unlock(&t->mutex);
}

void threads_free(struct threads *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->mutex);
    t->stop = true;
    pthread_cond_broadcast(&t->work);
    while (t->n)
        pthread_cond_wait(&t->none, &t->mutex);
    pthread_mutex_unlock(&t->mutex);
    close(t->fd);
    pthread_cond_destroy(&t->work);
    pthread_cond_destroy(&t->none);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}
