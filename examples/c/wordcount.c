/* wordcount.c - counts the words of all text files below some folders: alone, then with a pool; `make run` runs it.
 *
 * A process walks through the folders and puts what it finds into a queue. From there the paths come, some hundred KiB of text at
 * a time, to the workers of a pool, each of which counts into a table of its own; the main process merges the tables
 * that they give back. If a worker is killed half way (--kill) what it was at is counted again by another. In the end the result
 * is compared with that of the count alone.
 *
 * A word is a run of letters, of whatever alphabet (bytes from 128 on count as letters), in small ones where they are ASCII.
 */
#include "check.h"
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <shoal/shoal.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    LONGEST = 255 /* letters; what is longer is cut */,
    BATCH = 256 << 10 /* bytes of text in a task */
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *must(void *memory)
{
    if (memory)
        return memory;
    fprintf(stderr, "wordcount: out of memory\n");
    exit(1);
}

static bool tells = true; /* what cannot be read: the first time */

/* ---- a table of words ---- */

struct word {
    uint64_t count;
    uint32_t at; /* where its text begins in `text` */
    uint32_t size;
    uint64_t hash;
};

struct table {
    struct word *slots; /* a power of two of them; count 0: free */
    size_t room, used;
    char *text;
    size_t text_size, text_room;
    uint64_t words, files, bytes, unreadable, binary;
};

static void grow(struct table *t)
{
    size_t room = t->room ? 2 * t->room : 1024;
    struct word *slots = must(calloc(room, sizeof *slots));
    for (size_t i = 0; i < t->room; i++) {
        size_t to = t->slots[i].hash & (room - 1);
        if (!t->slots[i].count)
            continue;
        while (slots[to].count)
            to = (to + 1) & (room - 1);
        slots[to] = t->slots[i];
    }
    if (!t->text)
        t->text = must(malloc(t->text_room = 1 << 16));
    free(t->slots);
    t->slots = slots;
    t->room = room;
}

static inline uint64_t mix(uint64_t hash)
{
    hash ^= hash >> 32;
    hash *= 0x9e3779b97f4a7c15;
    return hash ^ hash >> 29;
}

static void add(struct table *t, const char *text, uint32_t size, uint64_t hash, uint64_t count)
{
    if (2 * (t->used + 1) > t->room)
        grow(t);
    assert(t->text);
    size_t i = hash & (t->room - 1);
    for (; t->slots[i].count; i = (i + 1) & (t->room - 1)) {
        struct word *w = &t->slots[i];
        if (w->hash == hash && w->size == size && !memcmp(t->text + w->at, text, size)) {
            w->count += count;
            return;
        }
    }
    while (t->text_size + size > t->text_room)
        t->text = must(realloc(t->text, t->text_room *= 2));
    memcpy(t->text + t->text_size, text, size);
    t->slots[i] = (struct word){count, (uint32_t)t->text_size, size, hash};
    t->text_size += size;
    t->used++;
}

static void empty(struct table *t)
{
    free(t->slots);
    free(t->text);
    *t = (struct table){.slots = NULL};
}

/* ---- counting one file ---- */

static unsigned char letter[256]; /* 0: none; else what it counts as */

static void make_letters(void)
{
    for (int c = 0; c < 256; c++)
        letter[c] = (unsigned char)(c >= 'A' && c <= 'Z'                 ? c + 32
                                    : (c >= 'a' && c <= 'z') || c >= 128 ? c
                                                                         : 0);
}

static void count_text(struct table *t, const unsigned char *text, size_t size)
{
    for (const unsigned char *at = text, *end = text + size; at < end;) {
        char word[LONGEST];
        uint32_t n = 0;
        uint64_t hash = 0;
        while (at < end && !letter[*at])
            at++;
        for (; at < end && letter[*at]; at++)
            if (n < LONGEST) {
                word[n++] = (char)letter[*at];
                hash = (hash ^ letter[*at]) * 0x100000001b3;
            }
        if (n) {
            add(t, word, n, mix(hash), 1);
            t->words++;
        }
    }
}

static void count_file(struct table *t, const char *path)
{
    static unsigned char *text; /* kept from file to file */
    static size_t room;
    size_t size = 0;
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), error = errno;
    while (fd >= 0) {
        if (size == room)
            text = must(realloc(text, room = room ? 2 * room : 1 << 16));
        n = read(fd, text + size, room - size);
        error = errno;
        if (n <= 0)
            break;
        size += (size_t)n;
    }
    if (fd >= 0)
        close(fd);
    if (n < 0) {
        t->unreadable++;
        if (tells)
            fprintf(stderr, "wordcount: %s: %s\n", path, strerror(error));
    } else if (memchr(text, 0, size)) {
        t->binary++;
    } else {
        t->files++;
        t->bytes += size;
        count_text(t, text, size);
    }
}

/* ---- walking: in a process of its own ---- */

static shoal_queue *paths;
static char **folders;

/* What goes through the queue: a file's size, and its path with a zero at the end. */
struct found {
    int64_t size;
    char path[4096];
};

static void walk(const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    if (!dir && tells)
        fprintf(stderr, "wordcount: %s: %s\n", folder, strerror(errno));
    while (dir && (entry = readdir(dir))) {
        struct found f;
        struct stat s;
        int n = snprintf(f.path, sizeof f.path, "%s/%s", folder, entry->d_name);
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
            n >= (int)sizeof f.path || lstat(f.path, &s))
            continue;
        f.size = s.st_size;
        if (S_ISDIR(s.st_mode))
            walk(f.path);
        else if (S_ISREG(s.st_mode))
            check(shoal_queue_put_bytes(paths, &f, offsetof(struct found, path) + (size_t)n + 1,
                                        SHOAL_FOREVER));
    }
    if (dir)
        closedir(dir);
}

static int walk_all(void *argument)
{
    (void)argument;
    for (char **folder = folders; *folder; folder++)
        walk(*folder);
    check(shoal_queue_shutdown(paths, false));
    return 0;
}

static shoal_process *start_walking(void)
{
    shoal_process *walker;
    check(shoal_queue_create(&paths, NULL));
    check(shoal_process_start(&walker, walk_all, NULL,
                              &(shoal_process_options){.name = "walker", .flags = SHOAL_DAEMON}));
    return walker;
}

/* The next path: 1; 0: that was all, or, if it is not to be waited for, all for now. */
static int next_path(struct found *f, size_t *size, shoal_process *walker, bool waits)
{
    for (;;) {
        int rc = shoal_queue_get_bytes_into(paths, f, sizeof *f, size, SHOAL_NOW), code;
        if (rc == 0)
            return 1;
        if (rc == -EPIPE || (rc == -EAGAIN && !waits))
            return 0;
        if (rc != -EAGAIN)
            check(rc);
        /* a path, or the end of who finds them, before it has said that there are no more */
        shoal_waitable either[] = {{.kind = SHOAL_WAIT_QUEUE, .queue = paths},
                                   {.kind = SHOAL_WAIT_PROCESS, .process = walker}};
        check(shoal_wait(either, 2, SHOAL_FOREVER));
        if (either[0].ready || !either[1].ready)
            continue;
        check(shoal_process_exit_code(walker, &code));
        if (code) {
            fprintf(stderr, "wordcount: the process that walks through the folders ended with %d\n",
                    code);
            exit(1);
        }
    }
}

static void end_walking(shoal_process *walker)
{
    check(shoal_process_join(walker, SHOAL_FOREVER));
    check(shoal_process_close(walker));
    paths = shoal_queue_close(paths);
}

/* ---- counting alone ---- */

static void count_alone(struct table *t)
{
    shoal_process *walker = start_walking();
    struct found f;
    size_t size;
    while (next_path(&f, &size, walker, true))
        count_file(t, f.path);
    tells = false;
    end_walking(walker);
}

/* ---- counting with a pool ---- */

/* The next task: paths, one behind the other, each with a zero at the end. */
struct batch {
    shoal_process *walker;
    char *bytes;
    size_t size, room;
};

static int next_batch(void *argument, const void **bytes, size_t *size)
{
    struct batch *b = argument;
    int64_t text = 0;
    b->size = 0;
    while (text < BATCH) {
        struct found f;
        size_t n;
        /* what is there already; only the first one is waited for */
        if (!next_path(&f, &n, b->walker, !b->size))
            break;
        n -= offsetof(struct found, path);
        if (b->size + n > b->room)
            b->bytes = must(realloc(b->bytes, b->room = 2 * (b->size + n)));
        memcpy(b->bytes + b->size, f.path, n);
        b->size += n;
        text += f.size + 1;
    }
    *bytes = b->bytes;
    *size = b->size;
    return b->size != 0;
}

/* What a task gives back: this, then for each word a struct entry and its text. */
struct counted {
    uint64_t words, files, bytes, unreadable, binary, entries;
};
struct entry {
    uint64_t hash;
    uint32_t count, size;
};

/* In a worker. */
static int count_batch(shoal_task *task)
{
    size_t size;
    const char *path = shoal_task_bytes(task, &size), *end = path + size;
    struct table t = {.slots = NULL};
    void *to;
    for (; path < end; path += strlen(path) + 1)
        count_file(&t, path);
    /* written where it is read: in shared memory */
    int rc =
        shoal_task_reserve(task, &to,
                           sizeof(struct counted) + t.used * sizeof(struct entry) + t.text_size);
    if (!rc) {
        char *at = to;
        struct counted c = {t.words, t.files, t.bytes, t.unreadable, t.binary, t.used};
        memcpy(at, &c, sizeof c);
        at += sizeof c;
        for (size_t i = 0; i < t.room; i++) {
            const struct word *w = &t.slots[i];
            struct entry e = {w->hash, (uint32_t)w->count, w->size};
            if (!w->count)
                continue;
            memcpy(at, &e, sizeof e);
            memcpy(at + sizeof e, t.text + w->at, w->size);
            at += sizeof e + w->size;
        }
    }
    empty(&t);
    return rc ? shoal_task_fail(rc, "%s", shoal_error_detail()) : 0;
}

static void merge(struct table *t, const char *at)
{
    struct counted c;
    memcpy(&c, at, sizeof c);
    at += sizeof c;
    t->words += c.words;
    t->files += c.files;
    t->bytes += c.bytes;
    t->unreadable += c.unreadable;
    t->binary += c.binary;
    for (uint64_t i = 0; i < c.entries; i++) {
        struct entry e;
        memcpy(&e, at, sizeof e);
        add(t, at + sizeof e, e.size, e.hash, e.count);
        at += sizeof e + e.size;
    }
}

/* `kill_after`: bytes after which a worker is killed; 0: none. Gives back the pid of the one that was. */
static pid_t count_with_pool(struct table *t, int jobs, uint64_t kill_after, uint64_t total)
{
    shoal_pool *pool;
    shoal_iterator *results;
    shoal_result *result;
    struct batch batch = {.size = 0};
    shoal_task_options each = {.retries = 3};
    double begun = now(), shown = 0;
    pid_t killed = 0;
    int rc;

    check(shoal_pool_create(&pool, &(shoal_pool_options){.workers = jobs}));
    shoal_process *walker = batch.walker = start_walking();
    check(shoal_pool_imap(pool, &results, count_batch, next_batch, &batch,
                          &(shoal_imap_options){.task = &each, .unordered = 1}));
    while ((rc = shoal_iterator_next(results, &result, SHOAL_FOREVER)) == 1) {
        const void *bytes;
        check(shoal_result_get(result, &bytes, NULL, SHOAL_NOW));
        merge(t, bytes);
        shoal_result_free(result);
        if (now() - shown > 0.1 || t->bytes == total) {
            shown = now();
            shoal_progress_bar(&(shoal_progress){.done = t->bytes,
                                                 .total = total,
                                                 .seconds = shown - begun,
                                                 .rate = (double)t->bytes / (shown - begun)},
                               (char[]){"bytes"});
        }
        if (kill_after && t->bytes >= kill_after && !killed) {
            shoal_worker_statistics worker;
            check(shoal_pool_statistics(pool, &worker, 1));
            killed = worker.pid;
            if (killed > 0)
                kill(killed, SIGKILL);
        }
    }
    check(rc);
    shoal_iterator_free(results);
    end_walking(walker);
    check(shoal_pool_close(pool));
    check(shoal_pool_join(pool, SHOAL_FOREVER));
    shoal_pool_free(pool);
    free(batch.bytes);
    return killed;
}

/* ---- telling ---- */

static const char *texts; /* of the table that is sorted */

static int more_first(const void *a, const void *b)
{
    const struct word *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    int order = memcmp(texts + x->at, texts + y->at, x->size < y->size ? x->size : y->size);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* The words, most frequent first; a copy. */
static struct word *sorted(const struct table *t)
{
    struct word *all = must(malloc((t->used + 1) * sizeof *all));
    size_t n = 0;
    for (size_t i = 0; i < t->room; i++)
        if (t->slots[i].count)
            all[n++] = t->slots[i];
    texts = t->text;
    qsort(all, n, sizeof *all, more_first);
    return all;
}

static bool equal(const struct table *a, const struct table *b)
{
    bool same = a->used == b->used && a->words == b->words && a->files == b->files &&
                a->bytes == b->bytes && a->unreadable == b->unreadable && a->binary == b->binary;
    struct word *x = sorted(a), *y = sorted(b);
    for (size_t i = 0; same && i < a->used; i++)
        same = x[i].count == y[i].count && x[i].size == y[i].size &&
               !memcmp(a->text + x[i].at, b->text + y[i].at, x[i].size);
    free(x);
    free(y);
    return same;
}

/* How many bytes the character at `text` has, if it is UTF-8; else 0. */
static uint32_t utf8(const char *text, uint32_t size)
{
    unsigned char c = (unsigned char)text[0];
    uint32_t n = c < 128                 ? 1
                 : c >= 0xc2 && c < 0xe0 ? 2
                 : c >= 0xe0 && c < 0xf0 ? 3
                 : c >= 0xf0 && c < 0xf5 ? 4
                                         : 0;
    if (n > size)
        return 0;
    for (uint32_t i = 1; i < n; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* A word has no character that JSON would want to be escaped; but it may be in another encoding than UTF-8. */
static void print_json_text(const char *text, uint32_t size)
{
    putchar('"');
    for (uint32_t i = 0; i < size;) {
        uint32_t n = utf8(text + i, size - i);
        if (n)
            printf("%.*s", (int)n, text + i);
        else
            printf("\\ufffd");
        i += n ? n : 1;
    }
    putchar('"');
}

static void print_top(const struct table *t, size_t top, bool json)
{
    struct word *all = sorted(t);
    for (size_t i = 0; i < top && i < t->used; i++)
        if (json) {
            printf("%s[", i ? ", " : "");
            print_json_text(t->text + all[i].at, all[i].size);
            printf(", %" PRIu64 "]", all[i].count);
        } else {
            printf("%10" PRIu64 "  %.*s\n", all[i].count, (int)all[i].size, t->text + all[i].at);
        }
    free(all);
}

static const char usage[] =
    "usage: wordcount [--jobs N] [--top N] [--kill] [--json] [FOLDER ...]\n"
    "\n"
    "Counts the words of all text files below the folders (/usr/include and /usr/share/doc):\n"
    "alone, then with a pool of workers, and compares.\n"
    "\n"
    "  --jobs N   workers (as many as there are CPUs)\n"
    "  --top N    how many of the most frequent words to print (20)\n"
    "  --kill     kill one worker half way\n"
    "  --json     print the result as JSON\n";

static int number(const char *text, const char *option, int most)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (!*text || *end || errno || n < 1 || n > most) {
        fprintf(stderr, "wordcount: %s %s: it is a number from 1 to %d\n", option, text, most);
        exit(2);
    }
    return (int)n;
}

int main(int argc, char *argv[])
{
    static char include[] = "/usr/include", doc[] = "/usr/share/doc",
                *usual[] = {include, doc, NULL};
    static const struct option options[] = {{"jobs", required_argument, NULL, 'j'},
                                            {"top", required_argument, NULL, 't'},
                                            {"kill", no_argument, NULL, 'k'},
                                            {"json", no_argument, NULL, 'J'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int jobs = 0, top = 20, c;
    bool kills = false, json = false;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 'j': jobs = number(optarg, "--jobs", SHOAL_POOL_WORKERS); break;
        case 't': top = number(optarg, "--top", 1000000); break;
        case 'k': kills = true; break;
        case 'J': json = true; break;
        case 'h': fputs(usage, stdout); return 0;
        default: fputs(usage, stderr); return 2;
        }
    folders = optind < argc ? argv + optind : usual;
    for (char **folder = folders; *folder; folder++) {
        struct stat s = {.st_mode = 0};
        if (stat(*folder, &s) || access(*folder, R_OK | X_OK) || !S_ISDIR(s.st_mode)) {
            fprintf(stderr, "wordcount: %s: %s\n", *folder,
                    S_ISDIR(s.st_mode) ? strerror(errno) : "not a folder that is there");
            return 1;
        }
    }
    make_letters();

    struct table alone = {.slots = NULL}, together = {.slots = NULL};
    double t0 = now();
    count_alone(&alone);
    double t1 = now();
    pid_t killed = count_with_pool(&together, jobs, kills ? alone.bytes / 2 : 0, alone.bytes);
    double t2 = now();
    bool same = equal(&alone, &together);

    if (json) {
        printf("{\"files\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"words\": %" PRIu64
               ", \"different\": %zu, ",
               together.files, together.bytes, together.words, together.used);
        printf("\"unreadable\": %" PRIu64 ", \"binary\": %" PRIu64
               ", \"alone\": %.3f, \"pool\": %.3f, \"killed\": %d, ",
               together.unreadable, together.binary, t1 - t0, t2 - t1, (int)killed);
        printf("\"equal\": %s, \"top\": [", same ? "true" : "false");
        print_top(&together, (size_t)top, true);
        printf("]}\n");
    } else {
        printf("%" PRIu64 " files, %.1f MB, %" PRIu64 " words, %zu different; skipped: %" PRIu64
               " binary, %" PRIu64 " unreadable\n",
               together.files, (double)together.bytes / 1e6, together.words, together.used,
               together.binary, together.unreadable);
        print_top(&together, (size_t)top, false);
        printf("alone %.2f s, with %d workers %.2f s: %.2f times as fast\n", t1 - t0,
               jobs ? jobs : shoal_cpu_count(), t2 - t1, (t1 - t0) / (t2 - t1));
        if (killed > 0)
            printf("worker %d was killed half way\n", (int)killed);
        printf("the result is %s as that of the count alone\n", same ? "the same" : "NOT the same");
    }
    empty(&alone);
    empty(&together);
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "wordcount: cannot write the result: %s\n", strerror(errno));
        return 1;
    }
    return same ? 0 : 1;
}
