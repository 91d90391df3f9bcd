/* What is buffered in streams, around starts and at a child's end. Tests that change standard streams
 * do so in a child. */
#include "processes.h"
#include <sched.h>
#include <stdlib.h>

static shoal_process *started(shoal_target target, void *argument)
{
    shoal_process *p;
    ASSERT_OK(shoal_process_start(&p, target, argument, NULL));
    return p;
}

static int nothing(void *argument)
{
    return argument != NULL;
}

#ifdef __GLIBC__ /* elsewhere a start waits for streams that are in use */
static FILE *stream_of(int fd, const char *mode)
{
    FILE *f = fdopen(fd, mode);
    ASSERT_NOT_NULL(f);
    return f;
}
#endif

/* ---- a thread that reads ---- */

static _Atomic pid_t reader;

static void *read_one(void *stream)
{
    atomic_store(&reader, gettid());
    ASSERT_EQ_INT(getc(stream), 'c');
    return NULL;
}

/* A thread that sleeps with the stream's lock. */
static pthread_t start_reader(FILE *stream)
{
    pthread_t thread;
    atomic_store(&reader, 0);
    ASSERT_EQ_INT(pthread_create(&thread, NULL, read_one, stream), 0);
    while (!atomic_load(&reader))
        nap();
    until_asleep(atomic_load(&reader));
    return thread;
}

static void start_beside_a_reader(FILE *stream, int other_end)
{
    pthread_t thread = start_reader(stream);
    ASSERT_EQ_INT(joined(started(nothing, NULL)), 0);
    ASSERT_OK(shoal_forkserver_start());
    ASSERT_OK(shoal_forkserver_stop());
    ASSERT_EQ_INT(write(other_end, "c", 1), 1);
    pthread_join(thread, NULL);
}

static void start_beside_readers(void)
{
    int fds[2];
    ASSERT_SYS(pipe(fds));
    ASSERT_SYS(dup2(fds[0], 0));
    start_beside_a_reader(stdin, fds[1]);
#ifdef __GLIBC__
    FILE *f = stream_of(fds[0], "r");
    start_beside_a_reader(f, fds[1]);
    fclose(f);
#else
    close(fds[0]);
#endif
    close(fds[1]);
}

TEST(process_start_does_not_wait_for_a_thread_that_reads)
{
    ends_well(child(start_beside_readers));
}

static int leave_a_reader(void *argument)
{
    FILE *stream = argument;
    start_reader(stream);
    printf("last words");
    return 7;
}

static void end_beside_a_reader(void)
{
    int in[2], out[2];
    char text[16] = "";
    ASSERT_SYS(pipe(in));
    ASSERT_SYS(pipe(out));
    ASSERT_SYS(dup2(in[0], 0));
    shoal_process *p;
    shoal_process_options options = {.stdout_fd = out[1]};
    ASSERT_OK(shoal_process_start(&p, leave_a_reader, stdin, &options));
    ASSERT_EQ_INT(joined(p), 7);
    close(out[1]);
    ASSERT_EQ_INT(read(out[0], text, sizeof text - 1), 10);
    ASSERT_STR(text, "last words");
    close(out[0]);
    close(in[0]);
    close(in[1]);
}

TEST(process_end_of_a_child_does_not_wait_for_its_thread_that_reads)
{
    ends_well(child(end_beside_a_reader));
}

/* ---- threads that write ---- */

enum { LINES = 20000, LINE = 8, MOST = 10000000 /* what has seven digits */ };
static int read_line(int fd)
{
    char line[LINE + 1] = "";
    for (int have = 0; have < LINE;) {
        ssize_t n = read(fd, line + have, (size_t)(LINE - have));
        ASSERT_GT_INT(n, 0);
        have += (int)n;
    }
    return atoi(line);
}

#ifdef __GLIBC__
static _Atomic pid_t writer;

static void *write_lines(void *stream)
{
    atomic_store(&writer, gettid());
    for (int i = 0; i < LINES; i++)
        fprintf(stream, "%07d\n", i);
    fflush(stream);
    return NULL;
}

/* It waits for its reader, with the stream's lock and its buffer half written. */
TEST(process_start_does_not_wait_for_a_thread_that_writes)
{
    int fds[2];
    pthread_t thread;
    ASSERT_SYS(pipe(fds));
    FILE *f = stream_of(fds[1], "w");
    ASSERT_EQ_INT(pthread_create(&thread, NULL, write_lines, f), 0);
    while (!atomic_load(&writer))
        nap();
    until_asleep(atomic_load(&writer));
    ASSERT_EQ_INT(joined(started(nothing, NULL)), 0);
    for (int i = 0; i < LINES; i++)
        ASSERT_EQ_INT(read_line(fds[0]), i);
    pthread_join(thread, NULL);
    fclose(f);
    close(fds[0]);
}
#endif

static _Atomic int printed, stop;

static void *print_lines(void *argument)
{
    for (; !atomic_load(&stop); sched_yield())
        printf("%07d\n", atomic_fetch_add(&printed, 1) % MOST);
    return argument;
}

static void start_beside_a_printer(void)
{
    pthread_t thread;
    char name[] = "/tmp/shoal-XXXXXX";
    int fd = (int)ASSERT_SYS(mkstemp(name));
    ASSERT_SYS(unlink(name));
    ASSERT_SYS(dup2(fd, 1));
    ASSERT_EQ_INT(setvbuf(stdout, NULL, _IOFBF, 4096), 0);
    ASSERT_NOT_NULL(shoal_process_current());
    ASSERT_EQ_INT(pthread_create(&thread, NULL, print_lines, NULL), 0);
    for (int i = 0; i < 100; i++)
        ASSERT_EQ_INT(joined(started(nothing, NULL)), 0);
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    fflush(stdout);
    ASSERT_SYS(lseek(fd, 0, SEEK_SET));
    for (int i = 0; i < printed; i++)
        ASSERT_EQ_INT(read_line(fd), i % MOST);
    ASSERT_EQ_INT(read(fd, name, 1), 0);
    close(fd);
}

/* Between a start's flush and its fork, too. */
TEST(process_output_of_other_threads_during_a_start_appears_once)
{
    ends_well(child(start_beside_a_printer));
}

static char *text;
static size_t size;

static int write_more(void *argument)
{
    FILE *f = argument;
    ASSERT_EQ_INT(fprintf(f, " and child"), 10);
    fflush(f);
    ASSERT_STR(text, "parent and child");
    return 0;
}

TEST(process_child_keeps_what_streams_in_memory_hold)
{
    FILE *f = open_memstream(&text, &size);
    ASSERT_NOT_NULL(f);
    fprintf(f, "parent");
    ASSERT_EQ_INT(joined(started(write_more, f)), 0);
    fclose(f);
    ASSERT_STR(text, "parent");
    free(text);
}
