/* What Winograd's two drivers share: pictures cut into tiles, and their transforms. Float only.
 *
 * Letters: m x m outputs of a tile come from edge x edge inputs, edge = m + 2; P = edge^2 products stand for them.
 * Channels are padded with zeros to whole vectors (`wide`). A plane is what belongs to one of the P products.
 */
#ifndef DL_MATRIX_WINOGRAD_H
#define DL_MATRIX_WINOGRAD_H
#include "internal.h"

/* Tile (i, j) of an image is the square of `edge` pixels from row i*step + top and column j*step + left on; what lies
 * outside the image is 0. Tiles are numbered through all images, row by row. */
struct dl_squares {
    const float *x;
    ptrdiff_t H, W, C, wide, edge, step, top, left, rows, columns;
};

/* Numbers between neighbouring planes of `size` numbers: an odd number of cache lines, because one tile writes to all
 * planes, and distances of a power of two fall on each other in the cache. */
static inline ptrdiff_t dl_plane_distance(ptrdiff_t size) { return (dl_ceil_div(size, 16) | 1) * 16; }

/* Where tile t begins; `at` gets its distances. A tile that is not whole is copied to `patch` (edge^2 * wide) first. */
const float *dl_square(const struct dl_squares *s, ptrdiff_t t, float *patch, struct dl_plane *at);

int dl_winograd_forward(const struct dl_conv2d *s, const struct dl_winograd *f, const float *x, const float *w, const float *bias,
                        float *y, int activation);
int dl_winograd_backward_input(const struct dl_conv2d *s, const struct dl_winograd *f, const float *dy, const float *w, float *dx);
int dl_winograd_backward_weight(const struct dl_conv2d *s, const struct dl_winograd *f, const float *x, const float *dy, float *dw);
#endif
