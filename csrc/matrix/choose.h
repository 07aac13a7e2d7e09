/* Which algorithm a convolution gets. */
#ifndef DL_MATRIX_CHOOSE_H
#define DL_MATRIX_CHOOSE_H
#include "dl_matrix.h"

/* 3x3 filters at stride 1, one group: what F(m x m, 3 x 3) is made for. Without channels there is nothing to transform. */
static inline int dl_winograd_can(const struct dl_conv2d *s) {
    return s->R == 3 && s->S == 3 && s->stride_h == 1 && s->stride_w == 1 && s->dil_h == 1 && s->dil_w == 1 && s->groups == 1 &&
           s->C > 0 && s->K > 0;
}

/* DL_WINOGRAD, DL_WINOGRAD2 or DL_DIRECT. Of a float64 convolution the direct sum is wanted: gradient checks. */
static inline enum dl_algorithm dl_choose(const struct dl_conv2d *s, size_t size_of_real) {
    if (size_of_real != sizeof(float) || !dl_winograd_can(s)) return DL_DIRECT;
    if (s->algorithm != DL_AUTO) return s->algorithm;
    if (s->C < 16 || s->K < 16) return DL_DIRECT; /* the transforms would cost more than the products save */
    return DL_WINOGRAD;
}

static inline const struct dl_winograd *dl_winograd_of(enum dl_algorithm algorithm) {
    return algorithm == DL_WINOGRAD2 ? &DL_PICK(dl_matrix_table)->winograd_2 : &DL_PICK(dl_matrix_table)->winograd_4;
}
#endif
