/* A block of cells in a vector, and how blocks are shared among threads. */
#ifndef DL_BLOCKS_H
#define DL_BLOCKS_H
#include "dl_compiler.h"
#include "dl_multigrid.h"
#include "dl_split.h"

#define KERNEL(name) DL_NAME(dl_grid_##name)

typedef double half __attribute__((vector_size(4 * DL_LANES), aligned(8), may_alias)); /* as many bits: half a block */
typedef float half_lanes __attribute__((vector_size(2 * DL_LANES), aligned(4), may_alias));
enum { DL_HALF = DL_LANES / 2 };
#ifdef __AVX__ /* GCC 12 makes eight instructions of these two */
#include <immintrin.h>
#define WIDER(x) ((half)_mm256_cvtps_pd(_mm_loadu_ps(x)))
#define NARROWER(x) ((half_lanes)_mm256_cvtpd_ps((__m256d)(x)))
#else
#define WIDER(x) __builtin_convertvector(GET(half_lanes, x), half)
#define NARROWER(x) __builtin_convertvector(x, half_lanes)
#endif

/* The body for each group, all of it by one thread; `work` vectors of arithmetic for a block of one channel. */
#define EACH_GROUP(g, work, ...)                                                                              \
    DL_SPLIT_FLUSHED(((g)->blocks + DL_GROUP - 1) / DL_GROUP, 1, (g)->blocks * (g)->channels * (work), \
                     for (long group = lo; group < hi; group++) { __VA_ARGS__ })
#define EACH_BLOCK_OF_GROUP(g) \
    for (long block = group * DL_GROUP, end_ = dl_min(block + DL_GROUP, (g)->blocks); block < end_; block++)

static inline long position(const struct dl_grid *g, long block) { return g->number[g->place[block]]; }
static inline long row_of(const struct dl_grid *g, long block) { return g->place[block] / g->stride - DL_BORDER; }
static inline long column_of(const struct dl_grid *g, long block) { return g->place[block] % g->stride - 1; } /* in blocks */

/* the active block in a row and column of blocks, at most one column outside; -1 where none is */
static inline long block_at(const struct dl_grid *g, const int32_t *active, long row, long column) {
    if (column >= g->stride - 1) return -1;
    return active[g->number[(row + DL_BORDER) * g->stride + column + 1] / DL_LANES];
}

INLINE double total(const half *x) { return (*x)[0] + (*x)[1] + (*x)[2] + (*x)[3]; }

INLINE int weights_each(int reach) { return reach == 1 ? 5 : reach == 2 ? 13 : DL_WINDOW; }
INLINE const float *weights_of(const struct dl_grid *g, long block, int reach) {
    return g->weights + (long)g->kind[block] * weights_each(reach) * DL_LANES;
}

#endif
