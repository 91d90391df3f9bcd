/* What a child can be told to do before its target runs. */
#include "processes.h"
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>

static void run(shoal_target target, void *argument, const shoal_process_options *options)
{
    shoal_process *p;
    ASSERT_OK(shoal_process_start(&p, target, argument, options));
    ASSERT_EQ_INT(joined(p), 0);
}

static int never(void *argument)
{
    (void)argument;
    FAIL("the target ran");
}

/* No child, no handle, no slot, and a sentence. */
static void refused(const shoal_process_options *options, int error)
{
    shoal_process *p = NULL;
    shoal_statistics s;
    ASSERT_ERR(shoal_process_start(&p, never, NULL, options), error);
    ASSERT_NULL(p);
    ASSERT_TRUE(shoal_error_detail()[0]);
    ASSERT_EQ_INT(shoal_process_active_children(NULL, 0), 0);
    ASSERT_EQ_INT(waitpid(-1, NULL, WNOHANG), -1);
    ASSERT_OK(shoal_memory_statistics(&s));
    ASSERT_EQ_INT(s.processes, 1);
    ASSERT_EQ_U64(s.deaths, 0);
}

static int in_root(void *argument)
{
    char text[64];
    (void)argument;
    ASSERT_STR(getcwd(text, sizeof text), "/");
    return 0;
}

TEST(process_option_directory)
{
    char before[4096], after[4096];
    ASSERT_NOT_NULL(getcwd(before, sizeof before));
    run(in_root, NULL, &(shoal_process_options){.directory = "/"});
    ASSERT_STR(getcwd(after, sizeof after), before);
    refused(&(shoal_process_options){.directory = "/no/such/folder"}, -ENOENT);
    ASSERT_NOT_NULL(strstr(shoal_error_detail(), "/no/such/folder"));
    refused(&(shoal_process_options){.directory = "/dev/null"}, -ENOTDIR);
}

static int two_variables(void *argument)
{
    (void)argument;
    ASSERT_STR(getenv("COLOUR"), "blue");
    ASSERT_STR(getenv("EMPTY"), "");
    ASSERT_NULL(getenv("PATH"));
    return 0;
}

TEST(process_option_environment)
{
    const char *const variables[] = {"COLOUR=blue", "EMPTY=", NULL}, *const none[] = {NULL};
    ASSERT_NOT_NULL(getenv("PATH"));
    run(two_variables, NULL, &(shoal_process_options){.environment = variables});
    ASSERT_NOT_NULL(getenv("PATH"));
    ASSERT_NULL(getenv("COLOUR"));
    refused(&(shoal_process_options){.environment = none, .directory = "/no"}, -ENOENT);
}

static int talk(void *argument)
{
    char text[8] = "";
    (void)argument;
    ASSERT_EQ_INT(read(0, text, sizeof text), 2);
    printf("out %s", text);
    fprintf(stderr, "err %s", text);
    return 0;
}

TEST(process_option_streams)
{
    int in[2], out[2], err[2];
    char text[16] = "";
    ASSERT_SYS(pipe(in));
    ASSERT_SYS(pipe(out));
    ASSERT_SYS(pipe(err));
    ASSERT_EQ_INT(write(in[1], "hi", 2), 2);
    run(talk, NULL,
        &(shoal_process_options){.stdin_fd = in[0], .stdout_fd = out[1], .stderr_fd = err[1]});
    ASSERT_EQ_INT(read(out[0], text, sizeof text), 6);
    ASSERT_STR(text, "out hi");
    ASSERT_EQ_INT(read(err[0], text, sizeof text), 6);
    ASSERT_STR(text, "err hi");
    refused(&(shoal_process_options){.stdout_fd = 999}, -EBADF);
    refused(&(shoal_process_options){.stdout_fd = -1}, -EINVAL);
    for (int i = 0; i < 2; i++) {
        close(in[i]);
        close(out[i]);
        close(err[i]);
    }
}

static int swapped(void *argument)
{
    (void)argument;
    ASSERT_EQ_INT(write(1, "o", 1), 1);
    ASSERT_EQ_INT(write(2, "e", 1), 1);
    return 0;
}

TEST(process_option_streams_can_be_exchanged)
{
    int one[2], two[2];
    char text[4] = "";
    ASSERT_SYS(pipe(one));
    ASSERT_SYS(pipe(two));
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        ASSERT_SYS(dup2(one[1], 1));
        ASSERT_SYS(dup2(two[1], 2));
        run(swapped, NULL, &(shoal_process_options){.stdout_fd = 2, .stderr_fd = 1});
        _exit(0);
    }
    ends_well(pid);
    ASSERT_EQ_INT(read(one[0], text, 2), 1);
    ASSERT_STR(text, "e");
    ASSERT_EQ_INT(read(two[0], text, 2), 1);
    ASSERT_STR(text, "o");
    for (int i = 0; i < 2; i++) {
        close(one[i]);
        close(two[i]);
    }
}

static int limited(void *argument)
{
    struct rlimit limit;
    (void)argument;
    ASSERT_SYS(getrlimit(RLIMIT_CORE, &limit));
    ASSERT_EQ_INT(limit.rlim_cur, 0);
    ASSERT_SYS(getrlimit(RLIMIT_NOFILE, &limit));
    ASSERT_EQ_INT(limit.rlim_cur, 64);
    ASSERT_EQ_INT(limit.rlim_max, 65);
    return 0;
}

TEST(process_option_limits)
{
    const shoal_limit limits[] = {{RLIMIT_CORE, {0, 0}}, {RLIMIT_NOFILE, {64, 65}}},
                      wrong = {RLIMIT_NOFILE, {2, 1}};
    run(limited, NULL, &(shoal_process_options){.limits = limits, .n_limits = 2});
    refused(&(shoal_process_options){.limits = &wrong, .n_limits = 1}, -EINVAL);
    refused(&(shoal_process_options){.n_limits = 1}, -EINVAL);
}

static int on_one_cpu(void *argument)
{
    cpu_set_t set;
    ASSERT_SYS(sched_getaffinity(0, sizeof set, &set));
    ASSERT_EQ_INT(CPU_COUNT(&set), 1);
    ASSERT_TRUE(CPU_ISSET(*(int *)argument, &set));
    ASSERT_EQ_INT(shoal_cpu_count(), 1);
    return 0;
}

TEST(process_option_cpus)
{
    cpu_set_t set;
    int cpu = 0, none = 60000;
    ASSERT_SYS(sched_getaffinity(0, sizeof set, &set));
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    run(on_one_cpu, &cpu, &(shoal_process_options){.cpus = &cpu, .n_cpus = 1});
    refused(&(shoal_process_options){.cpus = &none, .n_cpus = 1}, -EINVAL);
    none = -1;
    refused(&(shoal_process_options){.cpus = &none, .n_cpus = 1}, -EINVAL);
    refused(&(shoal_process_options){.n_cpus = 1}, -EINVAL);
}

static int niceness(void *argument)
{
    ASSERT_EQ_INT(getpriority(PRIO_PROCESS, 0), *(int *)argument);
    return 0;
}

TEST(process_option_nice)
{
    int wanted = getpriority(PRIO_PROCESS, 0) + 2;
    if (wanted > 19)
        wanted = 19;
    run(niceness, &wanted, &(shoal_process_options){.nice = 2});
}

TEST(process_option_flags_are_checked)
{
    refused(&(shoal_process_options){.flags = 2}, -EINVAL);
    refused(&(shoal_process_options){.name = ""}, -EINVAL);
}
