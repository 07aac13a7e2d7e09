#include "workspace.h"

#include <stdint.h>
#include <stdlib.h>

/* A free block lies in a slot; calls that run at the same time each take another. No locks: a slot is swapped whole. */
enum { SLOTS = 16, HEAD = 64 };
static void *slots[SLOTS];

struct head {
    void *memory; /* what malloc gave */
    size_t bytes;
};
static struct head *head_of(void *block) { return (struct head *)((char *)block - HEAD); }

void *dl_workspace_take(size_t bytes) {
    void *block = NULL;
    for (int i = 0; i < SLOTS && block == NULL; i++)
        if (__atomic_load_n(&slots[i], __ATOMIC_RELAXED) != NULL) block = __atomic_exchange_n(&slots[i], NULL, __ATOMIC_ACQUIRE);
    if (block != NULL && head_of(block)->bytes >= bytes) return block;
    if (block != NULL) free(head_of(block)->memory);
    if (bytes > PTRDIFF_MAX - 2 * HEAD) return NULL;
    char *memory = malloc(bytes + 2 * HEAD);
    if (memory == NULL) return NULL;
    block = (char *)(((uintptr_t)memory + HEAD - 1) / HEAD * HEAD + HEAD);
    *head_of(block) = (struct head){memory, bytes};
    return block;
}

void dl_workspace_give(void *block) {
    for (int i = 0; i < SLOTS && block != NULL; i++) {
        void *empty = NULL;
        if (__atomic_compare_exchange_n(&slots[i], &empty, block, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) return;
    }
    if (block != NULL) free(head_of(block)->memory);
}
