/* Products and convolutions: what csrc/cython/matrix.pyx calls. Layouts as in src/dlkit/backends/contract.py.
 *
 * Functions return 0, or -1 where memory ran out. Results do not depend on the number of threads, to the bit.
 * Arrays are C-contiguous and do not overlap; sizes may be 0.
 */
#ifndef DL_MATRIX_H
#define DL_MATRIX_H
#include <stddef.h>
#include "dl_matrix_kernels.h"

enum dl_algorithm { DL_AUTO = 0, DL_DIRECT = 1, DL_WINOGRAD = 2, DL_WINOGRAD2 = 3 }; /* F(4x4, 3x3), F(2x2, 3x3) */

struct dl_conv2d {
    ptrdiff_t N, H, W, C, K, R, S, OH, OW;
    ptrdiff_t stride_h, stride_w, pad_top, pad_left, dil_h, dil_w, groups;
    enum dl_algorithm algorithm; /* what was asked for; one that does not fit the shape or the type is not followed */
};

#define DL_MATRIX_API(REAL, T)                                                                                         \
    /* y [batch][M][O] = activation(a b + bias); a [M][inner] (ta: [inner][M]) begins at offset_a[batch], b likewise */        \
    int dl_matmul_##T(const REAL *a, const REAL *b, const REAL *bias, REAL *y, ptrdiff_t M, ptrdiff_t inner, ptrdiff_t O,  \
                      int ta, int tb, int activation);                                                                 \
    int dl_matmul_batch_##T(const REAL *a, const REAL *b, REAL *y, ptrdiff_t batch, const ptrdiff_t *offset_a,         \
                            const ptrdiff_t *offset_b, ptrdiff_t M, ptrdiff_t inner, ptrdiff_t O, int ta, int tb);         \
    int dl_conv2d_forward_##T(const struct dl_conv2d *, const REAL *x, const REAL *w, const REAL *bias, REAL *y,       \
                              int activation);                                                                         \
    int dl_conv2d_backward_input_##T(const struct dl_conv2d *, const REAL *dy, const REAL *w, REAL *dx);               \
    int dl_conv2d_backward_weight_##T(const struct dl_conv2d *, const REAL *x, const REAL *dy, REAL *dw);    \
    /* columns [N][OH][OW][R][S][C]; K and groups are not looked at */                                                 \
    void dl_im2col_##T(const struct dl_conv2d *, const REAL *x, REAL *columns);                                        \
    void dl_col2im_##T(const struct dl_conv2d *, const REAL *columns, REAL *x);
DL_MATRIX_API(float, f32)
DL_MATRIX_API(double, f64)

/* How this convolution is computed: "winograd", "winograd2", "direct", "product" (1x1) or "depthwise".
 * direction: 0 forward, 1 the input's gradient, 2 the weights'. */
const char *dl_conv2d_algorithm(const struct dl_conv2d *, int direction, size_t size_of_real);

/* One 2-D transform of F(m x m, 3 x 3) of a square [rows][columns][channels], for tests. name: 0 input, 1 weight, 2 output,
 * 3 gradient, 4 weight_gradient; m 2 or 4, channels a multiple of the vector. */
void dl_winograd_transform(int name, ptrdiff_t m, const float *from, float *to, ptrdiff_t channels);

#endif
