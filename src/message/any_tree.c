/* A tree's memory: a list of blocks, which small things are cut from one after the other. */
#include "message/any.h"
#include "region/object.h"
#include <stdlib.h>

enum { BLOCK_MOST = 4 << 20 };

struct any_tree *tree_create(size_t room, size_t most)
{
    size_t size = sizeof(struct any_tree) + room;
    struct any_tree *tree = malloc(size);
    if (!tree) {
        fail_detail("out of memory: %zu bytes for an any", size);
        return NULL;
    }
    tree->block = (struct any_block){NULL, NULL};
    tree->last = &tree->block;
    tree->at = (unsigned char *)(tree + 1);
    tree->end = tree->at + (room & ~(size_t)7);
    tree->taken = size;
    tree->most = most;
    tree->full = false;
    return tree;
}

bool tree_charge(struct any_tree *tree, size_t size)
{
    if (tree->taken > tree->most || size > tree->most - tree->taken) {
        tree->full = true;
        fail_detail("an any of more memory than the limit of %zu bytes", tree->most);
        return false;
    }
    tree->taken += size;
    return true;
}

/* Blocks grow with the tree. What is large gets one of its own, so that the rest of the newest one
 * is not lost. */
void *tree_alloc_block(struct any_tree *tree, size_t size)
{
    size_t room = tree->taken < BLOCK_MOST / 2 ? 2 * tree->taken : BLOCK_MOST;
    bool alone = size > room / 4;
    if (alone)
        room = size;
    struct any_block *block = NULL;
    if (size > PTRDIFF_MAX - sizeof *block || !tree_charge(tree, sizeof *block + room))
        return NULL;
    block = malloc(sizeof *block + room);
    if (!block) {
        fail_detail("out of memory: %zu bytes for an any", room);
        return NULL;
    }
    *block = (struct any_block){NULL, NULL};
    tree->last->next = block;
    tree->last = block;
    unsigned char *p = (unsigned char *)(block + 1);
    if (!alone) {
        tree->at = p + size;
        tree->end = p + (room & ~(size_t)7);
    }
    return p;
}

int any_set_object(struct any_tree *tree, shoal_any *ret, const struct any_object *object,
                   const char *call)
{
    struct any_object *copy = tree_alloc(tree, sizeof *copy);
    if (!copy)
        return -ENOMEM;
    *copy = *object;
    if (copy->held) {
        int rc = object_hold(&copy->reference, (enum type)copy->type, call);
        if (rc)
            return rc;
        copy->next = tree->block.objects;
        tree->block.objects = copy;
    }
    *ret = (shoal_any){.head = SHOAL_ANY_OBJECT, .object = copy};
    return 0;
}

void blocks_free(struct any_block *first)
{
    for (struct any_block *next; first; first = next) {
        for (const struct any_object *o = first->objects; o; o = o->next)
            object_unhold(&o->reference, (enum type)o->type);
        next = first->next;
        free(first);
    }
}
