/* What the drivers in csrc/matrix/ ask of the instruction set: one table of small functions for each number type.
 *
 * Everything is one tile, P points by V vectors of columns, kept in registers over the whole sum:
 *
 *     acc[p][v] += a[seg_a[s] + p*pix + t*step] * b[seg_b[s] + t*b_step + v*VL]     s < n_seg, t < run
 *
 * row    a is a number, step = 1, b a packed panel:   convolution, product; a runs along S*C inputs of a pixel
 * outer  a is a number, pix = 1, b a packed panel:    weight gradients; a's points are inputs, t counts pixels
 * lane   a is a vector like b:                        weight gradients of depthwise convolution
 * depthwise: as lane, for any number of columns, with few taps in a run; accumulate is ignored
 *
 * depthwise_3x3 is a tile of its own: up to DL_STENCIL_ROWS rows of output at once, so that an input is loaded once for
 * all of them.
 *
 * A packed panel has b_step = V*VL, zeros behind `columns`. Of y, and of a and b in lane, only `columns` are touched.
 */
#ifndef DL_MATRIX_KERNELS_H
#define DL_MATRIX_KERNELS_H
#include <stddef.h>
#include "dl_isa.h"

enum { DL_PANEL_VECTORS_MAX = 4, DL_STENCIL_ROWS = 4 };
enum dl_activation { DL_NONE = 0, DL_RELU = 1, DL_TANH = 2, DL_SIGMOID = 3 };

#define DL_MATRIX_KERNELS(REAL, T)                                                                                     \
    struct dl_tile_##T {                                                                                               \
        ptrdiff_t n_seg, run;                                                                                          \
        const ptrdiff_t *seg_a, *seg_b;                                                                                \
        ptrdiff_t pix, step, b_step; /* row ignores step, outer ignores pix, both ignore b_step */                     \
        const REAL *b;                                                                                                 \
        ptrdiff_t y_pix;   /* from one point's row of y to the next */                                                 \
        ptrdiff_t columns; /* 1 ... V*VL */                                                                            \
        const REAL *bias;  /* NULL, or V*VL readable numbers; not with accumulate */                                   \
        int accumulate;    /* y += instead of y =; without it y is never read */                                       \
        int relu;                                                                                                      \
    };                                                                                                                 \
    /* n points from a on, results from y on */                                                                        \
    typedef void dl_tiles_##T(const struct dl_tile_##T *, const REAL *a, REAL *y, ptrdiff_t n);                        \
    struct dl_stencil_##T {                                                                                            \
        const REAL *w;               /* tap (u, v) of a channel: w[u*w_row + v*w_col + channel] */                     \
        ptrdiff_t w_row, w_col, pix; /* pix: from one point's input to the next */                                     \
        ptrdiff_t y_pix, y_row, columns;                                                                               \
        const REAL *bias; /* NULL, or `columns` numbers and a vector more that can be read */                          \
        int relu;                                                                                                      \
    };                                                                                                                 \
    /* `height` rows of n points; point p of row q is the sum over u < 3, from <= v < to:                              \
     * x[q + u][p*pix + v*columns + channel] * w(u, v) */                                                              \
    typedef void dl_stencils_##T(const struct dl_stencil_##T *, const REAL *const *x, REAL *y, ptrdiff_t height,       \
                                 ptrdiff_t n, int from, int to);                                                       \
    struct dl_kernels_##T {                                                                                            \
        ptrdiff_t vl, panel; /* numbers in a vector, columns in a full panel */                                        \
        ptrdiff_t points;    /* points in the tallest tile of full width */                                            \
        dl_tiles_##T *row, *outer, *lane, *depthwise;                                                                  \
        dl_stencils_##T *depthwise_3x3;                                                                                \
        /* to[t*width + k] = from[t*ld + k] (transposed: from[k*ld + t]), t < depth, k < columns; 0 up to width */     \
        void (*pack)(REAL *to, ptrdiff_t width, const REAL *from, ptrdiff_t ld, ptrdiff_t depth, ptrdiff_t columns,    \
                     int transposed);                                                                                  \
        void (*activate)(REAL *y, ptrdiff_t n, int activation); /* in place; tanh, sigmoid and relu */                 \
    };
DL_MATRIX_KERNELS(float, f32)
DL_MATRIX_KERNELS(double, f64)

/* Winograd's F(m x m, 3 x 3), float only: 2-D transforms of a square of pixels, n channels each, n a multiple of vl. */
struct dl_plane {
    ptrdiff_t row, pixel; /* numbers from one row of the square to the next, from one pixel to the next */
};
typedef void dl_transform(const float *from, const struct dl_plane *at, float *to, const struct dl_plane *result, ptrdiff_t n);
struct dl_winograd {
    ptrdiff_t m;
    dl_transform *input;           /* d (m+2)^2 -> B^T d B (m+2)^2 */
    dl_transform *weight;          /* g 3^2 -> G g G^T (m+2)^2 */
    dl_transform *gradient;        /* dy m^2 -> A dy A^T (m+2)^2 */
    dl_transform *weight_gradient; /* dU (m+2)^2 -> G^T dU G 3^2 */
    /* M (m+2)^2 -> A^T M A + bias, m^2, relu if asked; bias NULL or n numbers */
    void (*output)(const float *from, const struct dl_plane *at, float *to, const struct dl_plane *result, ptrdiff_t n,
                   const float *bias, int relu);
};

struct dl_matrix_table {
    struct dl_kernels_f32 f32;
    struct dl_kernels_f64 f64;
    struct dl_winograd winograd_4, winograd_2;
};
#define DL_DECLARE_TABLE(isa) extern const struct dl_matrix_table dl_matrix_table_##isa;
DL_FOR_EACH_ISA(DL_DECLARE_TABLE)
#undef DL_DECLARE_TABLE

#endif
