/* merge.c - counts words in several processes, each of which merges what it has counted into a dict that all of them share.
 * Prints the words, those that come most often first. Arguments: files; without any, a rhyme.
 */
#include "check.h"
#include <ctype.h>
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROCESSES = 4, TOP = 5, WORD = 64 };

static const char rhyme[] = "How much wood would a woodchuck chuck\n"
                            "if a woodchuck could chuck wood?\n"
                            "He would chuck, he would, as much as he could,\n"
                            "and chuck as much wood as a woodchuck would\n"
                            "if a woodchuck could chuck wood.\n";

struct work {
    const char *text;
    size_t size;
    int part;
    shoal_dict *all;
};

/* Words are runs of letters, in lower case; of the lines, every fourth is this process's. */
static void count(const struct work *w, shoal_dict *mine)
{
    char word[WORD];
    size_t n = 0;
    int line = 0;
    for (size_t i = 0; i <= w->size; i++) {
        unsigned char c = i < w->size ? (unsigned char)w->text[i] : 0;
        if (isalpha(c) && n < WORD) {
            word[n++] = (char)tolower(c);
        } else if (!isalpha(c)) {
            if (n && line % PROCESSES == w->part)
                check(shoal_dict_add_int(mine, word, n, 1, NULL));
            n = 0;
        }
        line += c == '\n';
    }
}

/* Each number is added in one step, whoever else adds to it. */
static void merge(shoal_dict *all, const shoal_dict *mine)
{
    shoal_any *entries;
    const shoal_any *word, *number;
    check(shoal_dict_copy(mine, &entries));
    for (int64_t i = 0; i < shoal_any_count(entries); i++) {
        check(shoal_any_entry(entries, i, &word, &number));
        check(shoal_dict_add(all, word, number, NULL));
    }
    shoal_any_free(entries);
}

static int work(void *argument)
{
    const struct work *w = argument;
    shoal_dict *mine;
    check(shoal_dict_create(&mine, NULL));
    count(w, mine);
    merge(w->all, mine);
    shoal_dict_close(mine);
    return 0;
}

static void count_together(shoal_dict *all, const char *text, size_t size)
{
    shoal_process *processes[PROCESSES];
    struct work w[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        w[i] = (struct work){text, size, i, all};
        check(shoal_process_start(&processes[i], work, &w[i], NULL));
    }
    for (int i = 0; i < PROCESSES; i++) {
        check(shoal_process_join(processes[i], SHOAL_FOREVER));
        shoal_process_close(processes[i]);
    }
}

static void count_file(shoal_dict *all, const char *path)
{
    size_t size = 0, room = 1 << 16;
    char *text = malloc(room);
    FILE *f = fopen(path, "r");
    if (!f || !text) {
        perror(path);
        exit(1);
    }
    for (size_t n; (n = fread(text + size, 1, room - size, f)) > 0;) {
        size += n;
        if (size < room)
            continue;
        room *= 2;
        text = realloc(text, room);
        if (!text) {
            perror(path);
            exit(1);
        }
    }
    fclose(f);
    count_together(all, text, size);
    free(text);
}

/* (-number, word): so the list's own order has the most frequent words first. */
static shoal_any *ordered(const shoal_dict *all)
{
    shoal_any *entries, *ret;
    const shoal_any *word, *number;
    shoal_list *list;
    int64_t n;
    check(shoal_list_create(&list, NULL));
    check(shoal_dict_copy(all, &entries));
    for (int64_t i = 0; i < shoal_any_count(entries); i++) {
        check(shoal_any_entry(entries, i, &word, &number));
        check(shoal_any_as_int(number, &n));
        shoal_any *pair = shoal_any_tuple(shoal_any_int(-n), shoal_any_copy(word));
        check(shoal_list_append(list, pair));
        shoal_any_free(pair);
    }
    shoal_any_free(entries);
    check(shoal_list_sort(list, 0));
    check(shoal_list_slice(list, NULL, &ret));
    shoal_list_close(list);
    return ret;
}

int main(int argc, char **argv)
{
    shoal_dict *all;
    check(shoal_dict_create(&all, &(shoal_container_options){.name = "words"}));
    if (argc == 1)
        count_together(all, rhyme, sizeof rhyme - 1);
    for (int i = 1; i < argc; i++)
        count_file(all, argv[i]);

    shoal_any *words = ordered(all);
    int64_t sum = 0;
    for (int64_t i = 0; i < shoal_any_count(words); i++) {
        const shoal_any *pair, *number, *word;
        const void *bytes;
        size_t size;
        int64_t n;
        check(shoal_any_at(words, i, &pair));
        check(shoal_any_at(pair, 0, &number));
        check(shoal_any_at(pair, 1, &word));
        check(shoal_any_as_int(number, &n));
        check(shoal_any_as_bytes(word, &bytes, &size));
        sum -= n;
        if (i < TOP)
            printf("%3d %.*s\n", (int)-n, (int)size, (const char *)bytes);
    }
    printf("%d words, %d different ones\n", (int)sum, (int)shoal_any_count(words));
    shoal_any_free(words);
    shoal_dict_close(all);
    return 0;
}
