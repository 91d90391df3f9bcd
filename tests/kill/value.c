/* value.c: values and arrays, killed everywhere: created, opened, closed, changed in one step and under their lock. */
#define _GNU_SOURCE
#include "family.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

enum { ITEMS = 6, LARGE = 3000, SURVIVORS = 2 };

struct state {
    struct note *note;
    size_t length; /* of what is created */
    shoal_value_options options;
    shoal_value *value;
    shoal_array *array;
};

static struct state *setup_length(size_t length, shoal_value_options options)
{
    struct state *s = calloc(1, sizeof(*s));

    ASSERT_NOT_NULL(s);
    s->note = family_begin(NET_OFF);
    s->length = length;
    s->options = options;
    return s;
}

/* ---- creating and closing ---- */

static void create_and_close(void *p)
{
    struct state *s = p;
    shoal_value *value;
    shoal_array *array;
    double half = 0.5;

    ASSERT_OK(shoal_value_create(&value, 'd', &half, sizeof(half), &s->options));
    ASSERT_OK(shoal_array_create(&array, 'i', s->length, NULL, 0, &s->options));
    ASSERT_EQ_DOUBLE(*(double *)shoal_value_address(value), half);
    ASSERT_EQ_INT(((int *)shoal_array_address(array))[s->length - 1], 0);
    shoal_value_close(value);
    shoal_array_close(array);
}

static void survive_creating(void *p, int i)
{
    (void)i;
    create_and_close(p);
}

static void look_only(void *p)
{
    (void)p;
    family_look();
}

static void last(void *p)
{
    struct state *s = p;

    family_settle();
    family_check(s->note->before);
}

static void *setup_small(void)
{
    struct state *s = setup_length(ITEMS, (shoal_value_options){.name = "a name"});

    family_ready(s->note);
    return s;
}

static void *setup_large(void)
{
    struct state *s = setup_length(LARGE, (shoal_value_options){.flags = SHOAL_UNLOCKED});

    family_ready(s->note);
    return s;
}

KILL_SCENARIO(value_create_and_close, .setup = setup_small, .prepare = family_prepare,
              .victim = create_and_close, .repair = look_only, .survivor = survive_creating,
              .final = last, .state = family_state);
KILL_SCENARIO(value_create_and_close_large, .setup = setup_large, .prepare = family_prepare,
              .victim = create_and_close, .survivor = survive_creating, .final = last);

/* ---- opening ---- */

static const int seven = 7;

static void own_until_over(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_OK(shoal_value_create(&s->value, 'i', &seven, sizeof(seven), NULL));
    ASSERT_OK(shoal_value_reference(s->value, &s->note->reference));
    kill_partner_ready();
    kill_await_over();
    ASSERT_OK(shoal_value_acquire(s->value, SHOAL_FOREVER));
    ASSERT_EQ_INT(*(int *)shoal_value_address(s->value), seven);
    ASSERT_OK(shoal_value_release(s->value));
    shoal_value_close(s->value);
}

/* The owner goes while the victim is at it: whoever is the last frees value and lock. */
static void own_until_begun(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_OK(shoal_value_create(&s->value, 'i', &seven, sizeof(seven), NULL));
    ASSERT_OK(shoal_value_reference(s->value, &s->note->reference));
    kill_partner_ready();
    kill_await_begun();
    shoal_value_close(s->value);
}

static void open_until(struct state *s, int64_t deadline)
{
    int got;

    int rc = shoal_value_open(&s->value, &s->note->reference);
    if (rc == -ESTALE) /* its owner was quicker */
        return;
    ASSERT_OK(rc);
    rc = shoal_value_get(s->value, &got, sizeof(got), deadline);
    if (rc != -ETIMEDOUT) {
        ASSERT_OK(rc);
        ASSERT_EQ_INT(got, seven);
    }
    shoal_value_close(s->value);
}

static void open_and_close(void *p)
{
    open_until(p, SHOAL_FOREVER);
}

/* The one who is stopped may have the lock. */
static void open_beside(void *p, int i)
{
    (void)i;
    open_until(p, shoal_after(0.02));
}

static void prepare_open(void *p)
{
    struct state *s = p;

    family_prepare(p);
    ASSERT_OK(shoal_value_open(&s->value, &s->note->reference));
}

static void close_it(void *p)
{
    struct state *s = p;

    shoal_value_close(s->value);
}

static void survive_opening(void *p, int i)
{
    (void)i;
    open_and_close(p);
}

KILL_SCENARIO(value_open, .setup = setup_small, .prepare = family_prepare, .victim = open_and_close,
              .partner = own_until_over, .survivor = survive_opening, .stopped = open_beside,
              .final = last);
KILL_SCENARIO(value_close_beside_its_owner, .setup = setup_small, .prepare = prepare_open,
              .victim = close_it, .partner = own_until_over, .survivor = survive_opening,
              .stopped = open_beside, .final = last);
KILL_SCENARIO(value_close_meets_close, .setup = setup_small, .prepare = prepare_open,
              .victim = close_it, .partner = own_until_begun, .survivor = survive_opening,
              .stopped = open_beside, .final = last);

/* ---- integers, in one step ---- */

static void *setup_made(void)
{
    struct state *s = setup_length(ITEMS, (shoal_value_options){0});

    ASSERT_OK(shoal_value_create(&s->value, 'i', NULL, 0, NULL));
    ASSERT_OK(shoal_array_create(&s->array, 'h', ITEMS, NULL, 0, NULL));
    family_ready(s->note);
    return s;
}

/* entered: 0 before the first step is surely done, 2 after the last. */
static void step(void *p)
{
    struct state *s = p;
    int64_t before, zero = 0;

    ASSERT_OK(shoal_value_add(s->value, 1, NULL));
    s->note->entered = 2;
    ASSERT_OK(shoal_array_exchange(s->array, 1, 5, &before));
    ASSERT_EQ_INT(before, 0);
    s->note->at[1] = 1;
    ASSERT_EQ_INT(shoal_array_compare_exchange(s->array, 2, &zero, -9), 1);
    s->note->at[2] = 1;
}

static void add_ten(void *p, int i)
{
    struct state *s = p;

    (void)i;
    ASSERT_OK(shoal_value_add(s->value, 10, NULL));
}

static int item(struct state *s, int i)
{
    return ((const short *)shoal_array_address(s->array))[i];
}

static void last_steps(void *p)
{
    struct state *s = p;
    int sum = *(const int *)shoal_value_address(s->value);

    family_settle();
    /* added once or not at all, and once if the victim came back from it; by the others wholly */
    ASSERT_TRUE(sum % 10 == 1 || (sum % 10 == 0 && !s->note->entered));
    ASSERT_TRUE(sum / 10 == SURVIVORS || sum / 10 == 2 * SURVIVORS);
    ASSERT_TRUE(item(s, 1) == 5 || (item(s, 1) == 0 && !s->note->at[1]));
    ASSERT_TRUE(item(s, 2) == -9 || (item(s, 2) == 0 && !s->note->at[2]));
    ASSERT_EQ_INT(item(s, 0) | item(s, 3), 0);
    family_check(s->note->before);
}

KILL_SCENARIO(value_steps, .setup = setup_made, .prepare = family_prepare, .victim = step,
              .survivor = add_ten, .survivors = SURVIVORS, .stopped = add_ten, .final = last_steps,
              .flags = KILL_EVERY_INSTRUCTION);

/* ---- under the lock ---- */

static void set_all(void *p)
{
    struct state *s = p;
    short items[ITEMS];

    for (int i = 0; i < ITEMS; i++)
        items[i] = 0x101;
    s->note->entered = 1;
    ASSERT_EQ_INT(shoal_array_set(s->array, 0, ITEMS, items, sizeof(items), SHOAL_FOREVER), 0);
    s->note->entered = 2;
}

/* The lock is held three times inside. */
static void set_all_while_held(void *p)
{
    struct state *s = p;

    ASSERT_EQ_INT(shoal_array_acquire(s->array, SHOAL_FOREVER), 0);
    ASSERT_EQ_INT(shoal_array_acquire(s->array, SHOAL_FOREVER), 0);
    set_all(p);
    ASSERT_OK(shoal_array_release(s->array));
    ASSERT_OK(shoal_array_release(s->array));
}

/* Each item is the old one or the new one, and if some are old though some are new, one is told. */
static void look(void *p, int i)
{
    struct state *s = p;
    short items[ITEMS];
    int new = 0;

    (void)i;
    int rc = shoal_array_get(s->array, 0, ITEMS, items, sizeof(items), SHOAL_FOREVER);
    ASSERT_OK(rc);
    for (int k = 0; k < ITEMS; k++) {
        ASSERT_TRUE(items[k] == 0 || items[k] == 0x101);
        new += items[k] != 0;
    }
    if (rc == SHOAL_OWNER_DIED) {
        ASSERT_TRUE(kill_victim_was_killed());
        __atomic_add_fetch(&s->note->died, 1, __ATOMIC_SEQ_CST);
    } else if (new % ITEMS) {
        __atomic_add_fetch(&s->note->runs, 1, __ATOMIC_SEQ_CST); /* not told itself */
    }
    if (s->note->entered == 2)
        ASSERT_EQ_INT(new, ITEMS);
}

static void last_look(void *p)
{
    struct state *s = p;

    family_settle();
    ASSERT_LE_INT(s->note->died, 1);
    if (s->note->runs)
        ASSERT_EQ_INT(s->note->died, 1);
    ASSERT_EQ_INT(shoal_array_acquire(s->array, SHOAL_NOW), 0);
    ASSERT_OK(shoal_array_release(s->array));
    family_check(s->note->before);
}

static void set_in_vain(void *p, int i)
{
    struct state *s = p;
    int64_t n;

    (void)i;
    int rc = shoal_array_acquire(s->array, shoal_after(0.02));
    if (rc != -ETIMEDOUT) {
        ASSERT_EQ_INT(rc, 0);
        ASSERT_OK(shoal_array_release(s->array));
    }
    /* what takes no lock goes on whoever has it */
    ASSERT_OK(shoal_array_add(s->array, 0, 0, &n));
    ASSERT_TRUE(n == 0 || n == 0x101);
}

KILL_SCENARIO(value_set_under_its_lock, .setup = setup_made, .prepare = family_prepare,
              .victim = set_all, .survivor = look, .stopped = set_in_vain, .final = last_look,
              .flags = KILL_EVERY_INSTRUCTION);
KILL_SCENARIO(value_set_while_held, .setup = setup_made, .prepare = family_prepare,
              .victim = set_all_while_held, .survivor = look, .stopped = set_in_vain,
              .final = last_look);
