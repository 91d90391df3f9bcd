/* A bar on the terminal. */
#include "region/self.h"
#include <shoal/pool.h>
#include <stdio.h>
#include <unistd.h>

enum { WIDTH = 30 };

/* "3.4 M/s": three digits at most before the unit. */
static void rate_text(char *to, size_t size, double rate)
{
    const char *units[] = {"", " k", " M", " G"};
    unsigned u = 0;
    while (rate >= 1000 && u < 3) {
        rate /= 1000;
        u++;
    }
    snprintf(to, size, rate < 10 && u ? "%.1f%s/s" : "%.0f%s/s", rate, units[u]);
}

void shoal_progress_bar(const shoal_progress *p, void *title)
{
    char bar[WIDTH + 1], rate[32], line[256];
    if (!p || !isatty(STDERR_FILENO))
        return;
    double part = p->total ? (double)p->done / (double)p->total : 0;
    for (int i = 0; i < WIDTH; i++)
        bar[i] = i < (int)(part * WIDTH + 0.5) ? '#' : '.';
    bar[WIDTH] = 0;
    rate_text(rate, sizeof rate, p->rate);
    bool over = p->total && p->done >= p->total;
    double left = over || p->rate <= 0 ? p->seconds : (double)(p->total - p->done) / p->rate;
    char rest[80] = "";
    if (over || p->rate > 0)
        snprintf(rest, sizeof rest, ", %s, %.0f s%s", rate, left, over ? "" : " left");
    int n = p->total ? snprintf(line, sizeof line, "\r%.60s%s[%s] %3.0f %% %llu/%llu%s",
                                title ? (const char *)title : "", title ? " " : "", bar, part * 100,
                                (unsigned long long)p->done, (unsigned long long)p->total, rest)
                     : snprintf(line, sizeof line, "\r%.60s%s%llu done, %s, %.0f s",
                                title ? (const char *)title : "", title ? " " : "",
                                (unsigned long long)p->done, rate, p->seconds);
    if (p->failed && n < (int)sizeof line)
        n += snprintf(line + n, sizeof line - (size_t)n, ", %llu failed",
                      (unsigned long long)p->failed);
    if (n < (int)sizeof line)
        n += snprintf(line + n, sizeof line - (size_t)n, "\033[K%s", over ? "\n" : "");
    ssize_t written =
        write(STDERR_FILENO, line, (size_t)(n < (int)sizeof line ? n : (int)sizeof line - 1));
    (void)written; /* who looks at it sees that nothing comes */
}
