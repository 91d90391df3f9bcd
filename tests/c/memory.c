/* Memory, references, lifetime, quota, statistics: what memory.h promises. */
#include "limits.h"
#include "processes.h"
#include <errno.h>
#include <shoal/shoal.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static shoal_statistics statistics(void)
{
    shoal_statistics s;
    ASSERT_OK(shoal_memory_statistics(&s));
    return s;
}

/* The statistics once a child's end has been noticed: creating and closing an object under
 * contention is not needed, looking is. */
static void settle(uint64_t deaths)
{
    shoal_event *nobody;
    ASSERT_OK(shoal_event_create(&nobody, NULL));
    while (statistics().deaths < deaths)
        ASSERT_ERR(shoal_event_wait(nobody, shoal_after(0.01)), -ETIMEDOUT);
    shoal_event_close(nobody);
}

static void end_child(pid_t pid, int signal)
{
    int status;
    if (signal)
        ASSERT_SYS(kill(pid, signal));
    ASSERT_SYS(waitpid(pid, &status, 0));
    if (!signal)
        ASSERT_EQ_INT(status, 0);
}

TEST(memory_of_every_size_can_be_written_from_end_to_end)
{
    static const size_t sizes[] = {1, 63, 64, 65, 4096, 4097, 65536, 1 << 20, (64 << 20) + 1};
    shoal_memory *m[sizeof sizes / sizeof *sizes];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ASSERT_OK(shoal_memory_create(&m[i], sizes[i], NULL));
        ASSERT_EQ_U64(shoal_memory_size(m[i]), sizes[i]);
        ASSERT_EQ_U64((uintptr_t)shoal_memory_address(m[i]) % 64, 0);
        memset(shoal_memory_address(m[i]), (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const unsigned char *p = shoal_memory_address(m[i]);
        ASSERT_EQ_INT(p[0], i + 1);
        ASSERT_EQ_INT(p[sizes[i] - 1], i + 1);
        ASSERT_NULL(shoal_memory_close(m[i]));
    }
    ASSERT_EQ_INT(statistics().objects, 0);
}

TEST(memory_asked_for_zeroed_is_zero_even_where_other_memory_lay)
{
    for (size_t size = 64; size <= 1 << 20; size *= 4) {
        shoal_memory_options zero = {.flags = SHOAL_ZERO};
        shoal_memory *m;
        ASSERT_OK(shoal_memory_create(&m, size, NULL));
        memset(shoal_memory_address(m), 0xff, size);
        shoal_memory_close(m);
        ASSERT_OK(shoal_memory_create(&m, size, &zero));
        for (size_t i = 0; i < size; i++)
            ASSERT_EQ_INT(((unsigned char *)shoal_memory_address(m))[i], 0);
        shoal_memory_close(m);
    }
}

TEST(bad_arguments_are_errors_with_a_sentence)
{
    shoal_memory *m = NULL;
    shoal_memory_options flags = {.flags = 0x80};
    shoal_memory_options name = {.name = "a name that is certainly longer than forty-seven bytes"};
    ASSERT_ERR(shoal_memory_create(NULL, 64, NULL), -EINVAL);
    ASSERT_ERR(shoal_memory_create(&m, 0, NULL), -EINVAL);
    ASSERT_ERR(shoal_memory_create(&m, 64, &flags), -EINVAL);
    ASSERT_ERR(shoal_memory_create(&m, 64, &name), -EINVAL);
    ASSERT_TRUE(strstr(shoal_error_detail(), "longer than") != NULL);
    ASSERT_ERR(shoal_memory_create(&m, SIZE_MAX, NULL), -ENOMEM);
    ASSERT_ERR(shoal_memory_create(&m, (size_t)1 << 50, NULL), -ENOMEM);
    ASSERT_NULL(m);
    ASSERT_NULL(shoal_memory_address(NULL));
    ASSERT_EQ_U64(shoal_memory_size(NULL), 0);
    ASSERT_NULL(shoal_memory_close(NULL));
    ASSERT_ERR(shoal_memory_statistics(NULL), -EINVAL);
}

TEST(a_closed_handle_and_one_of_another_type_are_refused)
{
    shoal_memory *m;
    shoal_reference r;
    ASSERT_OK(shoal_memory_create(&m, 64, NULL));
    ASSERT_ERR(shoal_lock_acquire((shoal_lock *)m, SHOAL_NOW), -EBADF);
    shoal_memory *old = m;
    shoal_memory_close(m);
    ASSERT_NULL(shoal_memory_address(old));
    ASSERT_ERR(shoal_memory_reference(old, &r), -EBADF);
    shoal_memory_close(old);                      /* twice does nothing */
    ASSERT_OK(shoal_memory_create(&m, 64, NULL)); /* in its place */
    ASSERT_NULL(shoal_memory_address(old));
    shoal_memory_close(old);
    ASSERT_NOT_NULL(shoal_memory_address(m));
    shoal_memory_close(m);
}

TEST(a_reference_opens_the_object_while_it_lives_and_is_stale_afterwards)
{
    shoal_memory *m, *again;
    shoal_lock *lock = NULL;
    shoal_reference r, other;
    ASSERT_OK(shoal_memory_create(&m, 64, NULL));
    ASSERT_OK(shoal_memory_reference(m, &r));
    ASSERT_OK(shoal_memory_open(&again, &r));
    ASSERT_EQ_PTR(again, m);
    ASSERT_ERR(shoal_lock_open(&lock, &r), -EINVAL);
    shoal_memory_close(m);
    ASSERT_NOT_NULL(shoal_memory_address(m)); /* opened twice */
    shoal_memory_close(again);
    ASSERT_ERR(shoal_memory_open(&again, &r), -ESTALE);
    ASSERT_OK(shoal_memory_create(&m, 64, NULL)); /* the same place, another life */
    ASSERT_ERR(shoal_memory_open(&again, &r), -ESTALE);
    other = r;
    other.family ^= 1;
    ASSERT_ERR(shoal_memory_open(&again, &other), -ESTALE);
    other = r;
    other.id = 0xfffffff0;
    ASSERT_ERR(shoal_memory_open(&again, &other), -ESTALE);
    memset(&other, 0, sizeof other);
    ASSERT_ERR(shoal_memory_open(&again, &other), -ESTALE);
    ASSERT_ERR(shoal_memory_open(&again, NULL), -EINVAL);
    shoal_memory_close(m);
}

TEST(what_a_child_inherited_outlives_the_parents_close)
{
    shoal_memory *m;
    shoal_event *go, *done;
    ASSERT_OK(shoal_event_create(&go, NULL));
    ASSERT_OK(shoal_event_create(&done, NULL));
    ASSERT_OK(shoal_memory_create(&m, 100000, NULL));
    strcpy(shoal_memory_address(m), "still here");
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        ASSERT_OK(shoal_event_wait(go, SHOAL_FOREVER));
        ASSERT_STR((char *)shoal_memory_address(m), "still here");
        memset(shoal_memory_address(m), 7, 100000);
        shoal_memory_close(m);
        ASSERT_OK(shoal_event_set(done));
        pause();
    }
    shoal_memory_close(m);
    ASSERT_EQ_INT(statistics().objects, 3);
    ASSERT_OK(shoal_event_set(go));
    ASSERT_OK(shoal_event_wait(done, SHOAL_FOREVER));
    ASSERT_EQ_INT(statistics().objects, 2); /* the child's close was the last */
    end_child(pid, SIGKILL);
    settle(1);
    shoal_event_close(go);
    shoal_event_close(done);
    ASSERT_EQ_INT(statistics().objects, 0);
}

TEST(what_only_a_killed_process_held_is_freed)
{
    shoal_event *ready;
    ASSERT_OK(shoal_event_create(&ready, NULL));
    uint64_t used = statistics().used;
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        shoal_memory *m;
        for (size_t size = 1; size <= 4 << 20; size *= 2)
            ASSERT_OK(shoal_memory_create(&m, size, NULL));
        ASSERT_OK(shoal_event_set(ready));
        pause();
    }
    ASSERT_OK(shoal_event_wait(ready, SHOAL_FOREVER));
    ASSERT_EQ_INT(statistics().objects, 24);
    end_child(pid, SIGKILL);
    settle(1);
    ASSERT_EQ_INT(statistics().objects, 1);
    ASSERT_EQ_U64(statistics().used, used);
    ASSERT_EQ_INT(statistics().processes, 1);
    shoal_event_close(ready);
}

TEST(a_normal_end_gives_everything_back_and_is_no_death)
{
    uint32_t objects = statistics().objects;
    for (int i = 0; i < 50; i++) {
        pid_t pid = fork();
        ASSERT_SYS(pid);
        if (!pid) {
            shoal_memory *m;
            ASSERT_OK(shoal_memory_create(&m, (size_t)i * 1000 + 1, NULL));
            exit(0);
        }
        end_child(pid, 0);
    }
    ASSERT_EQ_INT(statistics().objects, objects);
    ASSERT_EQ_INT(statistics().processes, 1);
    ASSERT_EQ_U64(statistics().deaths, 0);
}

TEST(a_reference_that_travels_in_shared_memory_is_opened_by_a_child)
{
    shoal_reference *r =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shoal_event *sent, *opened;
    ASSERT_OK(shoal_event_create(&sent, NULL));
    ASSERT_OK(shoal_event_create(&opened, NULL));
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        shoal_memory *m;
        ASSERT_OK(shoal_event_wait(sent, SHOAL_FOREVER));
        ASSERT_OK(shoal_memory_open(&m, r));
        ASSERT_OK(shoal_event_set(opened));
        ASSERT_OK(shoal_event_wait(sent, SHOAL_FOREVER));
        ASSERT_STR((char *)shoal_memory_address(m), "made after the fork");
        exit(0);
    }
    shoal_memory *m;
    ASSERT_OK(shoal_memory_create(&m, 64, NULL));
    strcpy(shoal_memory_address(m), "made after the fork");
    ASSERT_OK(shoal_memory_reference(m, r));
    ASSERT_OK(shoal_event_set(sent));
    ASSERT_OK(shoal_event_wait(opened, SHOAL_FOREVER));
    shoal_memory_close(m);
    end_child(pid, 0);
    shoal_event_close(sent);
    shoal_event_close(opened);
    ASSERT_EQ_INT(statistics().objects, 0);
    munmap(r, 4096);
}

TEST(a_quota_refuses_and_what_is_given_back_may_be_had_again)
{
    shoal_memory *a, *b = NULL;
    ASSERT_OK(shoal_memory_create(&a, 2 << 20, NULL));
    ASSERT_TRUE(statistics().charged >= 2 << 20); /* before there is a quota, too */
    ASSERT_TRUE(statistics().charged < 3 << 20);
    shoal_memory_close(a);
    ASSERT_OK(shoal_memory_set_quota(3 << 20));
    ASSERT_OK(shoal_memory_create(&a, 2 << 20, NULL));
    ASSERT_ERR(shoal_memory_create(&b, 2 << 20, NULL), -ENOMEM);
    ASSERT_TRUE(strstr(shoal_error_detail(), "quota") != NULL);
    shoal_memory_close(a);
    for (int i = 0; i < 1000; i++) {
        ASSERT_OK(shoal_memory_create(&a, 2 << 20, NULL));
        shoal_memory_close(a);
    }
    pid_t pid = fork(); /* a child has a quota of its own, of the same size */
    ASSERT_SYS(pid);
    if (!pid) {
        ASSERT_OK(shoal_memory_create(&a, 2 << 20, NULL));
        ASSERT_ERR(shoal_memory_create(&b, 2 << 20, NULL), -ENOMEM);
        exit(0);
    }
    end_child(pid, 0);
    ASSERT_OK(shoal_memory_set_quota(0));
    ASSERT_OK(shoal_memory_create(&a, 8 << 20, NULL));
    shoal_memory_close(a);
}

TEST(a_full_region_says_so_and_everything_still_works)
{
    static shoal_memory *m[4096];
    shoal_options options = {.reserve = 128 << 20};
    int n = 0;
    ASSERT_OK(shoal_init(&options));
    ASSERT_ERR(shoal_init(NULL), -EALREADY);
    int rc;
    while (!(rc = shoal_memory_create(&m[n], 1 << 20, NULL)))
        n++;
    ASSERT_EQ_INT(rc, -ENOMEM);
    ASSERT_GT_INT(n, 64);
    shoal_lock *lock;
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    ASSERT_OK(shoal_lock_release(lock));
    shoal_lock_close(lock);
    for (int i = 0; i < n; i += 2)
        shoal_memory_close(m[i]);
    shoal_memory *again = NULL;
    ASSERT_ERR(shoal_memory_create(&again, 2 << 20, NULL), -ENOMEM); /* in pieces only */
    for (int i = 0; i < n; i += 2)
        ASSERT_OK(shoal_memory_create(&m[i], 1 << 20, NULL));
    for (int i = 0; i < n; i++)
        shoal_memory_close(m[i]);
    ASSERT_OK(shoal_memory_create(&again, (size_t)n << 20, NULL));
    shoal_memory_close(again);
    ASSERT_EQ_INT(statistics().objects, 0);
}

TEST(too_many_objects_are_an_error_and_come_back)
{
    enum { MOST = 16384 };
    static shoal_lock *locks[MOST];
    shoal_options options = {.reserve = 512 << 20};
    ASSERT_OK(shoal_init(&options));
    int n = 0, rc;
    while (n < MOST && !(rc = shoal_lock_create(&locks[n], NULL)))
        n++;
    ASSERT_EQ_INT(rc, -ENOMEM);
    ASSERT_GE_INT(n, 8000);
    for (int i = 0; i < n; i += 100) { /* wherever there is one place */
        shoal_lock_close(locks[i]);
        ASSERT_OK(shoal_lock_create(&locks[i], NULL));
        ASSERT_ERR(shoal_lock_create(&locks[n], NULL), -ENOMEM);
    }
    for (int i = 0; i < n; i++)
        shoal_lock_close(locks[i]);
    ASSERT_EQ_INT(statistics().objects, 0);
}

TEST(tens_of_thousands_of_objects_live_beside_each_other)
{
    enum { MANY = 50000 };
    shoal_lock **locks = malloc(MANY * sizeof *locks);
    for (int i = 0; i < MANY; i++)
        ASSERT_OK(shoal_lock_create(&locks[i], NULL));
    ASSERT_EQ_INT(statistics().objects, MANY);
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        for (int i = 0; i < MANY; i++) {
            ASSERT_OK(shoal_lock_acquire(locks[i], SHOAL_NOW));
            ASSERT_OK(shoal_lock_release(locks[i]));
        }
        exit(0);
    }
    end_child(pid, 0);
    for (int i = 0; i < MANY; i++)
        shoal_lock_close(locks[i]);
    free(locks);
    ASSERT_EQ_INT(statistics().objects, 0);
}

TEST(large_memory_goes_back_to_the_machine)
{
    shoal_memory *m;
    uint64_t before = statistics().populated;
    ASSERT_OK(shoal_memory_create(&m, 256 << 20, NULL));
    memset(shoal_memory_address(m), 1, 256 << 20);
    ASSERT_GE_INT(statistics().populated, 256 << 20);
    shoal_memory_close(m);
    if (memory_can_be_removed())
        ASSERT_LE_U64(statistics().populated, before + (65 << 20)); /* what is kept for the next */
}

TEST(the_region_needs_no_name_and_one_descriptor)
{
    shoal_lock *locks[100];
    int before = dup(0);
    close(before);
    for (int i = 0; i < 100; i++)
        ASSERT_OK(shoal_lock_create(&locks[i], NULL));
    int after = dup(0);
    close(after);
    ASSERT_LE_INT(after, before + 1);
    for (int i = 0; i < 100; i++)
        shoal_lock_close(locks[i]);
}

TEST(a_program_that_closes_all_descriptors_goes_on)
{
    shoal_lock *lock;
    shoal_memory *m;
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        for (int fd = 3; fd < 256; fd++)
            close(fd);
        ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
        const char *without = getenv("SHOAL_WITHOUT");
        if (without && strstr(without, "populate")) {
            /* memory is got through the descriptor then */
            ASSERT_ERR(shoal_memory_create(&m, 3 << 20, NULL), -ENOMEM);
            _exit(0);
        }
        ASSERT_OK(shoal_memory_create(&m, 3 << 20, NULL));
        memset(shoal_memory_address(m), 1, 3 << 20);
        shoal_memory_close(m);
        _exit(0);
    }
    end_child(pid, 0);
    ASSERT_EQ_INT(shoal_lock_acquire(lock, SHOAL_FOREVER), SHOAL_OWNER_DIED);
    ASSERT_OK(shoal_lock_release(lock));
    shoal_lock_close(lock);
}

TEST(a_small_address_space_makes_a_smaller_region)
{
    needs_address_limit();
    for (rlim_t room = 4ull << 30; room >= 160 << 20; room -= room / 16) {
        pid_t pid = fork();
        ASSERT_SYS(pid);
        if (!pid) {
            struct rlimit limit = {.rlim_cur = room, .rlim_max = room};
            ASSERT_SYS(setrlimit(RLIMIT_AS, &limit));
            shoal_lock *lock;
            ASSERT_OK(shoal_lock_create(&lock, NULL));
            ASSERT_LE_U64(statistics().reserved, room);
            exit(0);
        }
        end_child(pid, 0);
    }
}

TEST(a_small_limit_on_file_sizes_makes_a_smaller_region)
{
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        struct rlimit limit = {.rlim_cur = 1ull << 30, .rlim_max = 1ull << 30};
        ASSERT_SYS(setrlimit(RLIMIT_FSIZE, &limit));
        shoal_lock *lock;
        ASSERT_OK(shoal_lock_create(&lock, NULL));
        ASSERT_LE_U64(statistics().reserved, 1ull << 30);
        exit(0);
    }
    end_child(pid, 0);
}

/* Halves of a size that is no power of two end up as no whole number of pages. */
TEST(a_region_of_an_odd_size_works)
{
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        uint64_t most = (1ull << 38) - (1 << 20);
        struct rlimit limit = {.rlim_cur = most >> 11, .rlim_max = most >> 11};
        ASSERT_NE_INT(limit.rlim_cur % 4096, 0);
        ASSERT_SYS(setrlimit(RLIMIT_FSIZE, &limit));
        ASSERT_OK(shoal_init(&(shoal_options){.reserve = most}));
        ASSERT_LE_U64(statistics().reserved, limit.rlim_cur);
        shoal_lock *lock;
        ASSERT_OK(shoal_lock_create(&lock, NULL));
        ASSERT_OK(shoal_lock_acquire(lock, SHOAL_NOW));
        exit(0);
    }
    end_child(pid, 0);
}

TEST(the_sentence_is_about_the_last_failure)
{
    shoal_lock *lock;
    ASSERT_OK(shoal_lock_create(&lock, NULL));
    ASSERT_ERR(shoal_lock_release(lock), -EPERM);
    ASSERT_TRUE(strstr(shoal_error_detail(), "nobody holds") != NULL);
    ASSERT_OK(shoal_lock_acquire(lock, SHOAL_FOREVER));
    ASSERT_ERR(shoal_lock_acquire(lock, SHOAL_NOW), -EAGAIN);
    ASSERT_TRUE(strstr(shoal_error_detail(), "at once") != NULL);
    ASSERT_ERR(shoal_lock_acquire(lock, shoal_after(0.001)), -ETIMEDOUT);
    ASSERT_TRUE(strstr(shoal_error_detail(), "deadline") != NULL);
    ASSERT_OK(shoal_lock_release(lock));
    ASSERT_ERR(shoal_lock_release(lock), -EPERM);
    ASSERT_TRUE(strstr(shoal_error_detail(), "nobody holds") != NULL);
    shoal_lock_close(lock);
}

/* In a process of its own, whose region cannot be made or just so. */
static int two_creates(void)
{
    shoal_lock *lock;
    shoal_event *event;
    int rc = shoal_lock_create(&lock, NULL), again = shoal_event_create(&event, NULL);
    if (rc != again)
        return 2;
    if (!rc)
        return shoal_lock_acquire(lock, SHOAL_NOW) || shoal_event_set(event) ? 3 : 1;
    return (rc == -ENOMEM || rc == -EFBIG) && shoal_error_detail()[0] ? 0 : 4;
}

static int two_creates_within(int resource, rlim_t most)
{
    int status;
    pid_t pid = fork();
    ASSERT_SYS(pid);
    if (!pid) {
        const struct rlimit limit = {most, most};
        _exit(setrlimit(resource, &limit) ? 5 : two_creates());
    }
    ASSERT_SYS(waitpid(pid, &status, 0));
    ASSERT_TRUE(WIFEXITED(status));
    return WEXITSTATUS(status);
}

TEST(memory_region_that_does_not_fit_is_an_error_of_every_call)
{
    needs_address_limit();
    int made = 0, refused = 0;
    for (rlim_t most = 8 << 20; most <= 256 << 20; most += 8 << 20) {
        int ended = two_creates_within(RLIMIT_AS, most);
        ASSERT_LE_INT(ended, 1);
        made += ended == 1;
        refused += ended == 0;
    }
    ASSERT_GT_INT(made, 0);
    ASSERT_GT_INT(refused, 0);
}

TEST(memory_region_beyond_the_limit_of_files_is_an_error_and_no_signal)
{
    ASSERT_EQ_INT(two_creates_within(RLIMIT_FSIZE, 1 << 20), 0);
    ASSERT_EQ_INT(two_creates_within(RLIMIT_FSIZE, 0), 0);
}

TEST(memory_text_of_a_result_lasts)
{
    const char *text = shoal_strerror(-99999), *other = shoal_strerror(INT32_MIN);
    ASSERT_STR(text, "unknown error");
    ASSERT_STR(other, "unknown error");
    for (int i = 0; i < 200; i++)
        ASSERT_TRUE(shoal_strerror(-i) == shoal_strerror(-i));
}
