/* words.c - the example itself, but for its main. */
#define main wordcount_main
int wordcount_main(int argc, char *argv[]);
#include "../examples/c/wordcount.c" // NOLINT(bugprone-suspicious-include)
#undef main
#include "bench.h"
#include "words.h"
#include <sys/wait.h>

static void choose(void)
{
    static char include[] = "/usr/include", *some[] = {include, NULL};
    folders = some;
    make_letters();
}

double words_pool(void)
{
    struct table t = {.slots = NULL};
    choose();
    double begin = bench_now();
    count_with_pool(&t, 2, 0, 0);
    double took = (bench_now() - begin) / 1e6;
    empty(&t);
    return took;
}

/* Each half reads the same folders, and counts every other file. */
static void count_half(const char *folder, struct table *t, unsigned which, unsigned *files)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char path[4096];
        struct stat s;
        int n = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || n >= (int)sizeof path ||
            lstat(path, &s))
            continue;
        if (S_ISDIR(s.st_mode))
            count_half(path, t, which, files);
        else if (S_ISREG(s.st_mode) && ++*files % 2 == which)
            count_file(t, path);
    }
    if (dir)
        closedir(dir);
}

double words_halves(void)
{
    choose();
    double begin = bench_now();
    pid_t pids[2];
    for (unsigned which = 0; which < 2; which++) {
        pids[which] = fork();
        if (!pids[which]) {
            struct table t = {.slots = NULL};
            unsigned files = 0;
            for (char **folder = folders; *folder; folder++)
                count_half(*folder, &t, which, &files);
            _exit(0);
        }
    }
    for (int i = 0; i < 2; i++)
        if (pids[i] < 0 || waitpid(pids[i], NULL, 0) != pids[i])
            bench_must(-errno, "fork, waitpid");
    return (bench_now() - begin) / 1e6;
}
