/* Which algorithm a convolution gets: the one list of reasons. */
#ifndef DL_MATRIX_CHOOSE_H
#define DL_MATRIX_CHOOSE_H
#include "internal.h"

enum dl_direction { DL_FORWARD, DL_BACKWARD_INPUT, DL_BACKWARD_WEIGHT };

/* 3x3 filters at stride 1, one group: what F(m x m, 3 x 3) is made for. Without channels there is nothing to transform. */
static inline int dl_winograd_fits(const struct dl_conv2d *s) {
    return s->R == 3 && s->S == 3 && s->stride_h == 1 && s->stride_w == 1 && s->dil_h == 1 && s->dil_w == 1 && s->groups == 1 &&
           s->C > 0 && s->K > 0;
}

/* Measured on Zen 3 with two threads; the limits are where both algorithms take about as long. */
static inline int dl_winograd_pays(const struct dl_conv2d *s, enum dl_direction direction) {
    ptrdiff_t H = direction == DL_BACKWARD_INPUT ? s->H : s->OH, W = direction == DL_BACKWARD_INPUT ? s->W : s->OW;
    ptrdiff_t pixels = s->N * H * W, tiles = s->N * dl_ceil_div(H, 4) * dl_ceil_div(W, 4), channels = MIN(s->C, s->K);
    if (channels < 16) return 0;       /* the transforms cost more than the products save */
    if (tiles < 32) return 0;          /* the transform of the weights is not paid back */
    if (pixels < 7 * tiles) return 0;  /* images of 1, 2 or 5 pixels: most of each 4x4 tile is thrown away */
    if (direction == DL_BACKWARD_WEIGHT && channels < 32 && tiles < 256) return 0; /* nor is adding up the shares' sums */
    return 1;
}

static inline enum dl_algorithm dl_choose(const struct dl_conv2d *s, enum dl_direction direction, size_t size_of_real) {
    if (size_of_real != sizeof(float)) return DL_DIRECT; /* float64 is asked for to be exact: gradient checks */
    if (!dl_winograd_fits(s)) return DL_DIRECT;
    if (s->algorithm != DL_AUTO) return s->algorithm;
    return dl_winograd_pays(s, direction) ? DL_WINOGRAD : DL_DIRECT; /* F(2x2) only if asked for: 1.8 times the products */
}

/* The transforms to compute with, or NULL: directly. */
static inline const struct dl_winograd *dl_winograd_for(const struct dl_conv2d *s, enum dl_direction direction, size_t size_of_real) {
    const struct dl_matrix_table *table = DL_PICK(dl_matrix_table);
    enum dl_algorithm algorithm = dl_choose(s, direction, size_of_real);
    return algorithm == DL_WINOGRAD ? &table->winograd_4 : algorithm == DL_WINOGRAD2 ? &table->winograd_2 : NULL;
}
#endif
