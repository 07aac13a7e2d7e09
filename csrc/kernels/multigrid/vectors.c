/* The steps of conjugate gradients between two products, and the first of the smoother. */
#include <math.h>

#include "blocks.h"

void KERNEL(start)(const struct dl_grid *g, float *x, float *y, const float *b, const float *scale, float gain) {
    EACH_GROUP(g, 4, EACH_BLOCK_OF_GROUP(g) {
        const lanes step = gain * GET(lanes, scale + block * DL_LANES);
        for (long c = 0; c < g->channels; c++) {
            const long at = c * g->cells + position(g, block);
            AT(lanes, x + at) = step * GET(lanes, b + (block * g->channels + c) * DL_LANES);
            AT(lanes, y + at) = (lanes){0};
        }
    });
}

/* The body for each half block of a channel: where it is packed, and where in a plane. */
#define EACH_HALF_OF_GROUP(g, ...)                                                          \
    EACH_BLOCK_OF_GROUP(g) for (long c = 0; c < (g)->channels; c++)                         \
        for (long lane = 0; lane < DL_LANES; lane += DL_HALF) {                             \
            const long packed = (block * (g)->channels + c) * DL_LANES + lane;              \
            const long stored = c * (g)->cells + position(g, block) + lane;                 \
            (void)packed;                                                                   \
            __VA_ARGS__                                                                     \
        }

void KERNEL(dot)(const struct dl_grid *g, const double *r, const float *x, double *sums) {
    EACH_GROUP(g, 4, {
        for (long c = 0; c < g->channels; c++) sums[group * g->channels + c] = 0;
        EACH_HALF_OF_GROUP(g, {
            const half products = GET(half, r + packed) * WIDER(x + stored);
            sums[group * g->channels + c] += total(&products);
        })
    });
}

void KERNEL(turn)(const struct dl_grid *g, float *p, const float *x, const double *beta) {
    EACH_GROUP(g, 4, EACH_BLOCK_OF_GROUP(g) for (long c = 0; c < g->channels; c++) {
        const long at = c * g->cells + position(g, block);
        AT(lanes, p + at) = GET(lanes, x + at) + (float)beta[c] * GET(lanes, p + at);
    });
}

void KERNEL(step)(const struct dl_grid *g, float *u, double *r, float *b, const float *p, const double *q, const double *alpha,
                  double *largest) {
    EACH_GROUP(g, 8, {
        half most = {0};
        EACH_HALF_OF_GROUP(g, {
            const half moved = alpha[c] * WIDER(p + stored), left = GET(half, r + packed) - alpha[c] * GET(half, q + packed);
            AT(half_lanes, u + packed) += NARROWER(moved);
            AT(half, r + packed) = left;
            AT(half_lanes, b + packed) = NARROWER(left);
            for (int i = 0; i < DL_HALF; i++) most[i] = fabs(moved[i]) > most[i] ? fabs(moved[i]) : most[i];
        })
        largest[group] = fmax(fmax(most[0], most[1]), fmax(most[2], most[3]));
    });
}
