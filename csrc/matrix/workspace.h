/* Scratch memory that is kept: fresh pages cost more than most layers compute. Blocks only grow. */
#ifndef DL_WORKSPACE_H
#define DL_WORKSPACE_H
#include <stddef.h>

void *dl_workspace_take(size_t bytes); /* 64-byte aligned, not zeroed; NULL where memory ran out */
void dl_workspace_give(void *block);   /* keep it for the next call */

/* a*b, or SIZE_MAX where that is too large: a request that dl_workspace_take refuses. */
static inline size_t dl_times(size_t a, size_t b) {
    size_t c;
    return __builtin_mul_overflow(a, b, &c) ? (size_t)-1 : c;
}
static inline size_t dl_plus(size_t a, size_t b) {
    size_t c;
    return __builtin_add_overflow(a, b, &c) ? (size_t)-1 : c;
}
#endif
