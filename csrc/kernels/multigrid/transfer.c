/* Between a grid and the one of half its size: P and P^T, and P^T A P.
 *
 * Cell i's parents are the coarse cells (i + 1) / 2 - 1 and (i + 1) / 2; coarse cell I's children 2 I - 1 ... 2 I + 2, for the
 * first two of which it is the second parent. */
#include <stdlib.h>

#include "blocks.h"

#if defined(__clang__)
#define TWICE(x) __builtin_shufflevector(x, x, 0, 1, 1, 2, 2, 3, 3, 4)
#else
typedef int32_t lane_numbers __attribute__((vector_size(4 * DL_LANES)));
#define TWICE(x) __builtin_shuffle(x, (lane_numbers){0, 1, 1, 2, 2, 3, 3, 4})
#endif

/* P's share of coarse row or column I in its child number k = 0 ... 3 */
INLINE float share(const float *first, const float *second, long I, int k) {
    return (k < 2 ? second : first)[2 * I + k]; /* child 2 I - 1 + k stands at one more */
}

void KERNEL(gather)(const struct dl_grid *fine, const struct dl_grid *coarse, const float *x, float *b) {
    EACH_GROUP(coarse, 16, EACH_BLOCK_OF_GROUP(coarse) {
        const long I = row_of(coarse, block), J = column_of(coarse, block) * DL_LANES;
        const int32_t *children = fine->number + (2 * I - 1 + DL_BORDER) * fine->stride + 2 * J / DL_LANES + 1;
        const float *left = fine->left + 2 * J, *right = fine->right + 2 * J;
        for (long c = 0; c < coarse->channels; c++) {
            lanes sum[3] = {{0}}; /* of four rows, from column 2 J - 1 on */
            for (int k = 0; k < 4; k++) {
                const float *row = x + c * fine->cells + children[k * fine->stride] - 1;
                for (int i = 0; i < 3; i++) sum[i] += share(fine->first, fine->second, I, k) * GET(lanes, row + i * DL_LANES);
            }
            const float *s = (const float *)sum;
            for (long l = 0; l < DL_LANES; l++)
                b[(block * coarse->channels + c) * DL_LANES + l] =
                    coarse->inside[block * DL_LANES + l] * (right[2 * l] * s[2 * l] + right[2 * l + 1] * s[2 * l + 1] +
                                                            left[2 * l + 2] * s[2 * l + 2] + left[2 * l + 3] * s[2 * l + 3]);
        }
    });
}

void KERNEL(spread)(const struct dl_grid *fine, const struct dl_grid *coarse, float *x, const float *y) {
    EACH_GROUP(fine, 4, EACH_BLOCK_OF_GROUP(fine) {
        const long i = row_of(fine, block), J = column_of(fine, block);
        const int32_t *parents = coarse->number + ((i + 1) / 2 - 1 + DL_BORDER) * coarse->stride + J / 2 + 1;
        const long above = parents[0], below = parents[coarse->stride], half = J % 2 * (DL_LANES / 2);
        if (above == 0 || below == 0) continue; /* no parent is a cell */
        const float first = fine->first[i + 1], second = fine->second[i + 1];
        const lanes left = GET(lanes, fine->left + J * DL_LANES + 1), right = GET(lanes, fine->right + J * DL_LANES + 1);
        const lanes inside = GET(lanes, fine->inside + block * DL_LANES);
        for (long c = 0; c < fine->channels; c++) {
            const float *up = y + c * coarse->cells + above + half, *down = y + c * coarse->cells + below + half;
            const lanes before = first * GET(lanes, up - 1) + second * GET(lanes, down - 1);
            const lanes after = first * GET(lanes, up) + second * GET(lanes, down);
            AT(lanes, x + c * fine->cells + position(fine, block)) += inside * (left * TWICE(before) + right * TWICE(after));
        }
    });
}

enum { WINDOW = 8 }; /* a coarse cell's four children and two cells around them, along an axis */

/* sums += here times the weights of the fine cell (y, x) of the window */
INLINE void add_weights(const struct dl_grid *g, long block, long lane, float here, int y, int x, float sums[WINDOW][WINDOW],
                        int reach) {
    const float *w = g->weights + (long)g->kind[block] * weights_each(reach) * DL_LANES + lane;
    UNROLL for (int dy = -2; dy <= 2; dy++) {
        UNROLL for (int dx = -2; dx <= 2; dx++) {
            if (abs(dy) + abs(dx) <= reach) {
                sums[y + dy][x + dx] += here * *w;
                w += DL_LANES;
            }
        }
    }
}

/* out [25], DL_LANES apart: the weights of coarse cell (I, J) */
INLINE void coarse_weights(const struct dl_grid *fine, long I, long J, const int32_t *active, float *out, int reach) {
    float sums[WINDOW][WINDOW] = {{0}}, by_row[WINDOW][DL_SIDE] = {{0}}, result[DL_SIDE][DL_SIDE] = {{0}};
    float exists[WINDOW][WINDOW];
    for (int y = 0; y < WINDOW; y++) {
        const int32_t *number = fine->number + (2 * I - 3 + y + DL_BORDER) * fine->stride + 1;
        for (int x = 0; x < WINDOW; x++) {
            const long column = 2 * J - 3 + x + DL_LANES; /* counted from the block before the first */
            const long stored = number[column / DL_LANES - 1], lane = column % DL_LANES;
            const long block = stored ? active[stored / DL_LANES] : -1;
            exists[y][x] = block < 0 ? 0 : fine->inside[block * DL_LANES + lane];
            if (exists[y][x] == 0 || y < 2 || y > 5 || x < 2 || x > 5) continue;
            const float here = share(fine->first, fine->second, I, y - 2) * share(fine->left, fine->right, J, x - 2);
            if (here != 0) add_weights(fine, block, lane, here, y, x, sums, reach);
        }
    }
    for (int y = 0; y < WINDOW; y++)
        for (int x = 0; x < WINDOW; x++) { /* fine column 2 J - 3 + x: parents J - 2 + x / 2 and the next */
            const float value = exists[y][x] * sums[y][x];
            if (value == 0) continue;
            by_row[y][x / 2] += value * fine->left[2 * J - 2 + x];
            by_row[y][x / 2 + 1] += value * fine->right[2 * J - 2 + x];
        }
    for (int y = 0; y < WINDOW; y++) {
        const long i = 2 * I - 3 + y;
        if (i < 0) continue;
        for (int X = 0; X < DL_SIDE; X++) {
            result[y / 2][X] += by_row[y][X] * fine->first[i + 1];
            result[y / 2 + 1][X] += by_row[y][X] * fine->second[i + 1];
        }
    }
    for (int k = 0; k < DL_WINDOW; k++) out[k * DL_LANES] = result[k / DL_SIDE][k % DL_SIDE];
}

INLINE void galerkin(const struct dl_grid *fine, const struct dl_grid *coarse, long group, const int32_t *active, float *weights,
                     int reach) {
    EACH_BLOCK_OF_GROUP(coarse) for (long lane = 0; lane < DL_LANES; lane++) {
        if (coarse->inside[block * DL_LANES + lane] == 0) continue;
        const long I = row_of(coarse, block), J = column_of(coarse, block) * DL_LANES + lane;
        coarse_weights(fine, I, J, active, weights + block * DL_WINDOW * DL_LANES + lane, reach);
    }
}

void KERNEL(galerkin)(const struct dl_grid *fine, const struct dl_grid *coarse, const int32_t *active, float *weights) {
    EACH_GROUP(coarse, 5000, {
        if (fine->reach == 1) galerkin(fine, coarse, group, active, weights, 1);
        else if (fine->reach == 2) galerkin(fine, coarse, group, active, weights, 2);
        else galerkin(fine, coarse, group, active, weights, 4);
    });
}
