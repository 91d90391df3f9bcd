/* Robust words among the program's own robust mutexes: both lie in the thread's one list, which the
 * kernel walks at its end. */
#include "os/os.h"
#include "processes.h"
#include <sys/mman.h>

enum { MUTEXES = 3, WORDS = 3, ALL = MUTEXES + WORDS };

/* Thing i: a mutex of the program where i is even, else a word. */
static struct shared {
    pthread_mutex_t mutexes[MUTEXES];
    struct os_robust words[WORDS];
} * shared;

static void begin(int protocol)
{
    pthread_mutexattr_t attributes;
    if (!os_features()->robust)
        SKIP("the kernel marks nothing here");
    os_robust_prepare();
    os_robust_thread(os_gettid());
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_TRUE(shared != MAP_FAILED);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setprotocol(&attributes, protocol);
    for (int i = 0; i < MUTEXES; i++)
        ASSERT_EQ_INT(pthread_mutex_init(&shared->mutexes[i], &attributes), 0);
    for (int i = 0; i < WORDS; i++)
        os_robust_init(&shared->words[i]);
}

static void take(int i)
{
    if (i % 2)
        ASSERT_TRUE(os_robust_try(&shared->words[i / 2]));
    else
        ASSERT_EQ_INT(pthread_mutex_lock(&shared->mutexes[i / 2]), 0);
}

static void give_back(int i)
{
    if (i % 2)
        os_robust_release(&shared->words[i / 2]);
    else
        ASSERT_EQ_INT(pthread_mutex_unlock(&shared->mutexes[i / 2]), 0);
}

/* The k-th order of ALL things. */
static void order(int k, int ret[ALL])
{
    int rest[ALL] = {0, 1, 2, 3, 4, 5}, n = ALL;
    for (int i = 0; i < ALL; i++) {
        int at = k % n;
        k /= n;
        ret[i] = rest[at];
        rest[at] = rest[--n];
    }
}

/* What a process leaves behind that has given back these n. */
static void look(const int given[], int n)
{
    bool back[ALL] = {false};
    for (int i = 0; i < n; i++)
        back[given[i]] = true;
    for (int i = 0; i < ALL; i++) {
        if (i % 2) {
            struct os_robust *word = &shared->words[i / 2];
            ASSERT_EQ_INT(os_robust_marked(atomic_load(os_robust_word(word))), !back[i]);
            ASSERT_TRUE(os_robust_try(word)); /* as a survivor does */
            ASSERT_FALSE(os_robust_marked(atomic_load(os_robust_word(word))));
            ASSERT_FALSE(os_robust_try(word));
            os_robust_release(word);
            ASSERT_FALSE(os_robust_held(atomic_load(os_robust_word(word))));
        } else {
            pthread_mutex_t *mutex = &shared->mutexes[i / 2];
            int rc = pthread_mutex_lock(mutex);
            ASSERT_EQ_INT(rc, back[i] ? 0 : EOWNERDEAD);
            if (rc)
                ASSERT_EQ_INT(pthread_mutex_consistent(mutex), 0);
            ASSERT_EQ_INT(pthread_mutex_unlock(mutex), 0);
        }
    }
}

/* Children take all in one order, give back some in another, take one of these again, and die. */
static void in_all_orders(int protocol)
{
    enum { ORDERS = 720, STRIDE = 7 };
    begin(protocol);
    for (int k = 0; k < ORDERS; k += STRIDE) {
        int there[ALL], back[ALL], n = k / STRIDE % (ALL + 1);
        order(k, there);
        order((k * 29 + 5) % ORDERS, back);
        pid_t pid = (pid_t)ASSERT_OK(fork());
        if (!pid) {
            os_robust_thread(os_gettid());
            for (int i = 0; i < ALL; i++)
                take(there[i]);
            for (int i = 0; i < n; i++)
                give_back(back[i]);
            if (n)
                take(back[0]);
            raise(SIGKILL);
        }
        ASSERT_EQ_INT(waitpid(pid, NULL, 0), pid);
        look(back + 1, n ? n - 1 : 0);
    }
    munmap(shared, sizeof *shared);
}

TEST(robust_words_and_robust_mutexes_of_the_program_are_marked_whatever_lies_between_them)
{
    in_all_orders(PTHREAD_PRIO_NONE);
}

TEST(robust_words_and_robust_mutexes_that_inherit_priorities_are_marked_likewise)
{
    in_all_orders(PTHREAD_PRIO_INHERIT);
}

/* What the parent holds is not in its child's list. */
TEST(robust_words_stay_the_parents_when_its_child_ends)
{
    begin(PTHREAD_PRIO_NONE);
    for (int i = 0; i < ALL; i++)
        take(i);
    pid_t pid = (pid_t)ASSERT_OK(fork());
    if (!pid)
        raise(SIGKILL);
    ASSERT_EQ_INT(waitpid(pid, NULL, 0), pid);
    for (int i = 0; i < WORDS; i++)
        ASSERT_TRUE(os_robust_held(atomic_load(os_robust_word(&shared->words[i]))));
    for (int i = 0; i < ALL; i++)
        give_back(i);
    look((const int[ALL]){0, 1, 2, 3, 4, 5}, ALL);
    munmap(shared, sizeof *shared);
}

static void *hold(void *unused)
{
    (void)unused;
    os_robust_thread(os_gettid());
    take(1);
    take(2);
    take(3);
    return NULL;
}

TEST(robust_words_are_marked_at_the_end_of_a_thread)
{
    pthread_t thread;
    begin(PTHREAD_PRIO_NONE);
    ASSERT_EQ_INT(pthread_create(&thread, NULL, hold, NULL), 0);
    ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
    look((const int[ALL]){0, 4, 5}, 3);
    munmap(shared, sizeof *shared);
}
