/* Everything that applies A: a block's cells times their weights, one vector for each of up to 25 neighbours. */
#include <math.h>
#include <stdlib.h>

#include "blocks.h"

#define ABSOLUTE(x) ((lanes)((lane_numbers)(x) & INT32_MAX))

struct rows { /* the positions of a block's window, from two rows above */
    long at[DL_SIDE];
};

INLINE struct rows rows_of(const struct dl_grid *g, long block) {
    struct rows r;
    UNROLL for (int i = 0; i < DL_SIDE; i++) r.at[i] = g->number[g->place[block] + (i - 2) * g->stride];
    return r;
}

/* k counts a cell's neighbours within reach, in the order of the weights; the block's first cell has its own at row + dx */
#define EACH_NEIGHBOUR(r, reach, ...)                                 \
    do {                                                              \
        int k = 0;                                                    \
        UNROLL for (int dy = -2; dy <= 2; dy++) {                     \
            UNROLL for (int dx = -2; dx <= 2; dx++) {                 \
                if (abs(dy) + abs(dx) <= reach) {                     \
                    const long row = (r).at[dy + 2];                  \
                    __VA_ARGS__;                                      \
                    k++;                                              \
                }                                                     \
            }                                                         \
        }                                                             \
    } while (0)

/* `kernel` for all channels, as many at once as a weight is loaded for; that number and the reach are constants in it. */
#define FOR_CHANNELS(g, kernel, reach, ...)                                            \
    do {                                                                               \
        long c_ = 0;                                                                   \
        for (; c_ + 3 <= (g)->channels; c_ += 3) kernel(g, __VA_ARGS__, c_, 3, reach); \
        for (; c_ < (g)->channels; c_++) kernel(g, __VA_ARGS__, c_, 1, reach);         \
    } while (0)
#define EACH_GROUP_AND_REACH(g, work, kernel, ...)                            \
    EACH_GROUP(g, (work)*weights_each((g)->reach), {                          \
        if ((g)->reach == 1) FOR_CHANNELS(g, kernel, 1, group, __VA_ARGS__);      \
        else if ((g)->reach == 2) FOR_CHANNELS(g, kernel, 2, group, __VA_ARGS__); \
        else FOR_CHANNELS(g, kernel, 4, group, __VA_ARGS__);                      \
    })

/* left [many] = b - A x of a block, for `many` channels from c on */
INLINE void subtract_product(const struct dl_grid *g, long block, struct rows r, const float *x, const float *b, lanes *left,
                             long c, int many, int reach) {
    const float *w = weights_of(g, block, reach);
    UNROLL for (int i = 0; i < many; i++) left[i] = GET(lanes, b + (block * g->channels + c + i) * DL_LANES);
    EACH_NEIGHBOUR(r, reach, {
        const lanes weight = GET(lanes, w + k * DL_LANES);
        UNROLL for (int i = 0; i < many; i++) left[i] -= weight * GET(lanes, x + (c + i) * g->cells + row + dx);
    });
}

INLINE void advance(const struct dl_grid *g, long group, const float *x, float *y, const float *b, const float *scale,
                    float keep, float gain, long c, int many, int reach) {
    EACH_BLOCK_OF_GROUP(g) {
        const struct rows r = rows_of(g, block);
        const lanes step = gain * GET(lanes, scale + block * DL_LANES);
        lanes left[3];
        subtract_product(g, block, r, x, b, left, c, many, reach);
        UNROLL for (int i = 0; i < many; i++) {
            const long at = (c + i) * g->cells + r.at[2];
            const lanes here = GET(lanes, x + at);
            AT(lanes, y + at) = here + keep * (here - GET(lanes, y + at)) + step * left[i];
        }
    }
}

void KERNEL(advance)(const struct dl_grid *g, const float *x, float *y, const float *b, const float *scale, float keep,
                     float gain) {
    EACH_GROUP_AND_REACH(g, 1, advance, x, y, b, scale, keep, gain);
}

INLINE void residual(const struct dl_grid *g, long group, const float *x, float *y, const float *b, long c, int many, int reach) {
    EACH_BLOCK_OF_GROUP(g) {
        const struct rows r = rows_of(g, block);
        lanes left[3];
        subtract_product(g, block, r, x, b, left, c, many, reach);
        UNROLL for (int i = 0; i < many; i++)
            AT(lanes, y + (c + i) * g->cells + r.at[2]) = left[i] * GET(lanes, g->inside + block * DL_LANES);
    }
}

void KERNEL(residual)(const struct dl_grid *g, const float *x, float *y, const float *b) {
    EACH_GROUP_AND_REACH(g, 1, residual, x, y, b);
}

INLINE void product(const struct dl_grid *g, long group, const float *p, double *q, double *sums, long c, int many, int reach) {
    half sum[3] = {{0}};
    EACH_BLOCK_OF_GROUP(g) {
        const struct rows r = rows_of(g, block);
        UNROLL for (int lane = 0; lane < DL_LANES; lane += DL_HALF) {
            const float *w = weights_of(g, block, reach) + lane;
            half y[3] = {{0}};
            EACH_NEIGHBOUR(r, reach, {
                const half weight = WIDER(w + k * DL_LANES);
                UNROLL for (int i = 0; i < many; i++) y[i] += weight * WIDER(p + (c + i) * g->cells + row + dx + lane);
            });
            UNROLL for (int i = 0; i < many; i++) {
                y[i] *= WIDER(g->inside + block * DL_LANES + lane);
                AT(half, q + (block * g->channels + c + i) * DL_LANES + lane) = y[i];
                sum[i] += y[i] * WIDER(p + (c + i) * g->cells + r.at[2] + lane);
            }
        }
    }
    for (int i = 0; i < many; i++) sums[group * g->channels + c + i] = total(&sum[i]);
}

void KERNEL(product)(const struct dl_grid *g, const float *p, double *q, double *sums) {
    EACH_GROUP_AND_REACH(g, 2, product, p, q, sums);
}

INLINE void bounds(const struct dl_grid *g, long group, const float *inside, float *scale, double *largest, int reach) {
    lanes most = {0};
    EACH_BLOCK_OF_GROUP(g) {
        const float *w = weights_of(g, block, reach);
        const struct rows r = rows_of(g, block);
        const lanes cell = GET(lanes, g->inside + block * DL_LANES);
        const lanes inverse = cell / (GET(lanes, w + weights_each(reach) / 2 * DL_LANES) + 1 - cell);
        lanes sum = {0};
        EACH_NEIGHBOUR(r, reach, sum += ABSOLUTE(GET(lanes, w + k * DL_LANES)) * GET(lanes, inside + row + dx));
        AT(lanes, scale + block * DL_LANES) = inverse;
        for (int lane = 0; lane < DL_LANES; lane++) most[lane] = fmaxf(most[lane], sum[lane] * inverse[lane]);
    }
    largest[group] = 0;
    for (int lane = 0; lane < DL_LANES; lane++) largest[group] = fmax(largest[group], most[lane]);
}

void KERNEL(bounds)(const struct dl_grid *g, float *y, float *scale, double *largest) {
    EACH_GROUP(g, 1, EACH_BLOCK_OF_GROUP(g) {
        AT(lanes, y + position(g, block)) = GET(lanes, g->inside + block * DL_LANES);
    });
    EACH_GROUP(g, weights_each(g->reach), {
        if (g->reach == 1) bounds(g, group, y, scale, largest, 1);
        else if (g->reach == 2) bounds(g, group, y, scale, largest, 2);
        else bounds(g, group, y, scale, largest, 4);
    });
}
