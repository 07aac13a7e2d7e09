/* Memory for arrays, kept when it is freed: a training step frees and takes the same megabytes again and again, and a
 * page that went back to the system costs up to 2 µs to get back, more than the arithmetic on it. */
#ifndef DL_POOL_H
#define DL_POOL_H
#include <stddef.h>

struct dl_block { /* what the pool lends; everything but `data` is its own */
    void *data;   /* at least 64-byte aligned */
    size_t bytes;
    void *memory; /* as the system gave it */
    size_t mapped;
    struct dl_block *newer, *older; /* among the free ones */
};

struct dl_pool_stats {
    size_t in_use, peak; /* bytes lent now, and at the highest point */
    size_t kept;         /* bytes free, but not given back to the system */
    size_t fresh;        /* blocks taken from the system so far */
};

struct dl_block *dl_pool_take(size_t bytes); /* NULL: no memory */
void dl_pool_give(struct dl_block *block);
void dl_pool_release(void); /* gives everything that is free back to the system */
struct dl_pool_stats dl_pool_stats(void);

struct dl_pool_api { /* how the other extension modules reach the one pool: capsule dlkit._native.pool.api */
    struct dl_block *(*take)(size_t);
    void (*give)(struct dl_block *);
};
#endif
