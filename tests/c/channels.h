/* channels.h: what the tests of channels share. */
#ifndef TESTS_CHANNELS_H
#define TESTS_CHANNELS_H

#include "processes.h"
#include <stdlib.h>

static shoal_channel *channel;
static shoal_channel_end *in, *out;
static _Atomic long *shared;
static uint32_t before;

static inline void setup(uint64_t buffer)
{
    shared = words_open();
    before = objects();
    ASSERT_OK(shoal_channel_create(&channel, &(shoal_channel_options){.buffer = buffer}));
    ASSERT_OK(shoal_channel_reader(channel, &in));
    ASSERT_OK(shoal_channel_writer(channel, &out));
}

/* With the ends all that belonged to the channel goes, as soon as children are known to have ended. */
static inline void done(void)
{
    in = shoal_channel_end_close(in);
    out = shoal_channel_end_close(out);
    channel = shoal_channel_close(channel);
    for (int i = 0; objects() != before; i++) {
        ASSERT_LT_INT(i, 2000);
        ASSERT_OK(shoal_process_active_children(NULL, 0));
        shoal_event *event;
        ASSERT_OK(shoal_event_create(&event, NULL));
        ASSERT_ERR(shoal_event_wait(event, shoal_after(0.001)), -ETIMEDOUT);
        shoal_event_close(event);
    }
    words_close();
}

static inline void say(shoal_channel_end *end, long value)
{
    ASSERT_OK(shoal_channel_write_bytes(end, &value, sizeof value, SHOAL_FOREVER));
}

static inline void expect(shoal_channel_end *end, long value)
{
    long got = -1;
    size_t size = 0;
    ASSERT_OK(shoal_channel_read_bytes(end, &got, sizeof got, &size, SHOAL_FOREVER));
    ASSERT_EQ_INT(size, sizeof got);
    ASSERT_EQ_INT(got, value);
}

#endif
