/* Other programs as members of the family. */
#include "programs.h"
#include "region/region.h"
#include <fcntl.h>
#include <stdlib.h>

/* argv wants them writable. */
static char **list(const char *a, const char *b, const char *c)
{
    static char text[3][80];
    static char *argv[4];
    const char *from[3] = {a, b, c};
    memset(argv, 0, sizeof argv);
    for (int i = 0; i < 3 && from[i]; i++) {
        snprintf(text[i], sizeof text[i], "%s", from[i]);
        argv[i] = text[i];
    }
    return argv;
}

static shoal_process *started(const char *what, const char *argument,
                              const shoal_process_options *options)
{
    shoal_process *p;
    ASSERT_OK(shoal_process_start_exec(&p, member(), list("member", what, argument), options));
    return p;
}

static int run(const char *what, const char *argument)
{
    return joined(started(what, argument, NULL));
}

static char *counter(_Atomic long **words)
{
    *words = words_open();
    return words_reference();
}

TEST(process_program_that_makes_no_call_of_shoal_can_be_started)
{
    shoal_statistics s;
    ASSERT_EQ_INT(run("exit", "0"), 0);
    ASSERT_EQ_INT(run("exit", "9"), 9);
    ASSERT_OK(shoal_memory_statistics(&s));
    ASSERT_EQ_INT(s.processes, 1);
}

TEST(process_program_opens_what_the_family_shares)
{
    _Atomic long *words;
    char *text = counter(&words);
    for (int i = 0; i < 3; i++)
        ASSERT_EQ_INT(run("count", text), 0);
    ASSERT_EQ_INT(words[0], 3);
    words_close();
}

TEST(process_program_gives_back_what_it_inherited_and_never_opened)
{
    _Atomic long *words;
    char *text = counter(&words);
    shoal_memory *other;
    shoal_statistics before, after;
    ASSERT_OK(shoal_memory_statistics(&before));
    ASSERT_OK(shoal_memory_create(&other, 1 << 20, NULL));
    ASSERT_EQ_INT(run("count", text), 0);
    shoal_memory_close(other);
    ASSERT_OK(shoal_memory_statistics(&after));
    ASSERT_EQ_U64(after.objects, before.objects);
    ASSERT_EQ_U64(after.used, before.used);
    words_close();
}

TEST(process_program_knows_its_name_and_parent)
{
    char pid[16];
    ASSERT_EQ_INT(run("name", "Process-1"), 0);
    ASSERT_EQ_INT(run("child", "Process-2:1"), 0);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    ASSERT_EQ_INT(run("parent", pid), 0);
    shoal_process_options options = {.name = "helper"};
    ASSERT_EQ_INT(joined(started("name", "helper", &options)), 0);
}

TEST(process_program_that_cannot_be_run_is_an_error)
{
    shoal_process *p = NULL;
    shoal_statistics s;
    char **arguments = list("x", NULL, NULL), *none[] = {NULL};
    ASSERT_ERR(shoal_process_start_exec(&p, "/no/such/program", arguments, NULL), -ENOENT);
    ASSERT_NOT_NULL(strstr(shoal_error_detail(), "/no/such/program"));
    ASSERT_ERR(shoal_process_start_exec(&p, "/dev/null", arguments, NULL), -EACCES);
    ASSERT_ERR(shoal_process_start_exec(&p, "/bin/true", none, NULL), -EINVAL);
    ASSERT_ERR(shoal_process_start_exec(&p, NULL, arguments, NULL), -EINVAL);
    shoal_process_options options = {.directory = "/no/such/folder"};
    ASSERT_ERR(shoal_process_start_exec(&p, "/bin/true", arguments, &options), -ENOENT);
    ASSERT_NULL(p);
    ASSERT_OK(shoal_memory_statistics(&s));
    ASSERT_EQ_INT(s.processes, 1);
    ASSERT_EQ_U64(s.deaths, 0);
}

TEST(process_program_takes_options)
{
    int fds[2];
    char text[32] = "";
    const char *const variables[] = {"COLOUR=green", NULL};
    shoal_process *p;
    ASSERT_SYS(pipe(fds));
    shoal_process_options options = {.directory = "/",
                                     .environment = variables,
                                     .stdout_fd = fds[1]};
    ASSERT_OK(
        shoal_process_start_exec(&p, "/bin/sh", list("sh", "-c", "echo $COLOUR $PWD"), &options));
    ASSERT_EQ_INT(joined(p), 0);
    ASSERT_SYS(read(fds[0], text, sizeof text - 1));
    ASSERT_STR(text, "green /\n");
    close(fds[0]);
    close(fds[1]);
}

TEST(process_program_can_be_killed)
{
    shoal_process *p = started("sleep", "", NULL);
    ASSERT_EQ_INT(shoal_process_is_alive(p), 1);
    ASSERT_OK(shoal_process_terminate(p));
    ASSERT_EQ_INT(joined(p), -SIGTERM);
    p = started("sleep", "", NULL);
    ASSERT_EQ_INT(shoal_process_kill_tree(p), 1);
    ASSERT_EQ_INT(joined(p), -SIGKILL);
}

static void daemon_program_ends(const char *what, long count)
{
    int alive[2];
    char c;
    _Atomic long *words;
    char *text = counter(&words);
    adopt_orphans();
    ASSERT_SYS(pipe(alive));
    pid_t pid = (pid_t)ASSERT_SYS(fork());
    if (!pid) {
        shoal_process_options options = {.flags = SHOAL_DAEMON};
        started(what, text, &options);
        until_word(&words[0], count);
        atomic_store(&words[1], 1);
        for (;;)
            pause();
    }
    until_word(&words[1], 1);
    kill_and_reap(pid);
    close(alive[1]);
    ASSERT_EQ_INT(read(alive[0], &c, 1), 0);
    close(alive[0]);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    words_close();
}

TEST(process_program_that_is_a_daemon_ends_with_its_parent)
{
    daemon_program_ends("sleep", 0);
}

TEST(process_program_that_is_a_daemon_and_has_joined_takes_its_children_along)
{
    daemon_program_ends("stay", 2);
}

/* Which of them has the slot that was reserved is open; all belong to the family. */
TEST(process_programs_that_one_shell_runs_are_all_of_the_family)
{
    static char shell[] = "sh", option[] = "-c",
                script[] = "\"$0\" count \"$1\" && "
                           "\"$0\" key \"$1\" | "
                           "\"$0\" key \"$1\"";
    _Atomic long *words;
    char *argv[] = {shell, option, script, member(), counter(&words), NULL};
    shoal_statistics s;
    shoal_process *p;
    ASSERT_OK(shoal_process_set_authkey((const unsigned char *)"key", 3));
    for (int i = 1; i <= 20; i++) {
        ASSERT_OK(shoal_process_start_exec(&p, "/bin/sh", argv, NULL));
        ASSERT_EQ_INT(joined(p), 0);
        ASSERT_EQ_INT(words[0], 3 * i);
        ASSERT_OK(shoal_memory_statistics(&s));
        ASSERT_EQ_INT(s.processes, 1);
    }
    words_close();
}

/* A shell that starts the program in the background ends before it. */
TEST(process_program_lives_on_when_the_one_that_started_it_has_ended)
{
    static char shell[] = "sh", option[] = "-c",
                script[] = "\"$0\" stay \"$1\" & read line; exit 0";
    _Atomic long *words;
    char *argv[] = {shell, option, script, member(), counter(&words), NULL};
    shoal_statistics s;
    shoal_process *p;
    int ends[2];
    ASSERT_SYS(pipe2(ends, O_CLOEXEC));
    shoal_process_options options = {.stdin_fd = ends[0]};
    ASSERT_OK(shoal_process_start_exec(&p, "/bin/sh", argv, &options));
    until_word(&words[0], 2); /* it, and a child of its own */
    close(ends[0]);
    close(ends[1]);
    ASSERT_EQ_INT(joined(p), 0);
    ASSERT_OK(shoal_memory_statistics(&s));
    ASSERT_EQ_INT(s.processes, 3);
    ASSERT_EQ_U64(s.deaths, 0);
    for (uint32_t i = 1; i < atomic_load(&view.region->slots_high); i++)
        if (atomic_load(&slot_at(i)->pid) != getpid() &&
            slot_status(atomic_load(&slot_at(i)->word)) == SLOT_ALIVE)
            ASSERT_SYS(kill(atomic_load(&slot_at(i)->pid), SIGKILL));
    until_deaths(2);
    words_close();
}
