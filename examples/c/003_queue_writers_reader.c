/* 003_queue_writers_reader.c - two writers put into a queue, a reader takes out; when the writers are
 * done the queue is shut down, and the reader ends once it has taken the rest. */
#include "check.h"
#include <errno.h>
#include <shoal/shoal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { URLS = 3 };

struct writer {
    shoal_queue *queue;
    const char *urls[URLS];
};

static int write_urls(void *argument)
{
    const struct writer *writer = argument;

    printf("Process(%d) is writing...\n", (int)getpid());
    srandom((unsigned)getpid());
    for (int i = 0; i < URLS; i++) {
        const char *url = writer->urls[i];
        check(shoal_queue_put_bytes(writer->queue, url, strlen(url) + 1, SHOAL_FOREVER));
        printf("Put %s to queue...\n", url);
        usleep((useconds_t)(random() % 1000000));
    }
    return 0;
}

static int read_urls(void *argument)
{
    shoal_queue *queue = argument;
    char url[64];
    size_t size;
    int rc;

    printf("Process(%d) is reading...\n", (int)getpid());
    while (!(rc = shoal_queue_get_bytes_into(queue, url, sizeof url, &size, SHOAL_FOREVER)))
        printf("Get %s from queue.\n", url);
    if (rc != -EPIPE) /* shut down and empty */
        check(rc);
    return 0;
}

static void finish(shoal_process *process)
{
    check(shoal_process_join(process, SHOAL_FOREVER));
    check(shoal_process_close(process));
}

int main(void)
{
    shoal_queue *queue;
    shoal_process *writers[2], *reader;

    setvbuf(stdout, NULL, _IOLBF, 0); /* each line is out at once, here and in the children */
    check(shoal_queue_create(&queue, NULL));
    check(shoal_process_start(&writers[0], write_urls,
                              &(struct writer){queue, {"url_1", "url_2", "url_3"}}, NULL));
    check(shoal_process_start(&writers[1], write_urls,
                              &(struct writer){queue, {"url_4", "url_5", "url_6"}}, NULL));
    check(shoal_process_start(&reader, read_urls, queue, NULL));

    finish(writers[0]);
    finish(writers[1]);
    check(shoal_queue_shutdown(queue, 0));
    finish(reader);
    shoal_queue_close(queue);
    return 0;
}
