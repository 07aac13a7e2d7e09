/* The loops of a multigrid solver on the cells of a hole (src/dlkit/inpaint/multigrid/).
 *
 * A grid's rows are cut into blocks of DL_LANES cells. Active are the blocks that hold a cell of the hole; stored are
 * these, the two rows around them and the block to their left and right. So whatever the form of the hole, what a block's
 * cells touch, two cells away at most, lies beside five positions, one for each row.
 *
 *     planes         [channels][cells]: x, y, p. The stored blocks, row after row; 0 where no cell of the hole is
 *     packed arrays  [blocks][channels][DL_LANES]: b, r, q, u. The active blocks alone; also 0 where no cell is
 *
 * Sums are taken in groups of blocks, to be added up in order: their bits do not depend on the number of threads.
 */
#ifndef DL_MULTIGRID_H
#define DL_MULTIGRID_H
#include <stdint.h>

#include "dl_isa.h"
#include "dl_lanes.h"

enum {
    DL_SIDE = 5, DL_WINDOW = 25,    /* a cell's window, along an axis and whole */
    DL_GROUP = 64,                  /* blocks */
    DL_BORDER = 4, DL_MARGIN = 24,  /* rows around `number`'s grid; zeros before and behind the shares */
};

struct dl_grid {
    long h, w;                    /* of the grid: cells down and along */
    long blocks, cells, channels; /* active blocks; cells in a plane, with DL_LANES free ones before and 3 DL_LANES behind; planes */
    long stride;                  /* of `number`: blocks in a row, with one more at each end */
    int reach; /* a cell has weights for the cells at |dy| + |dx| <= reach of its window: 5, 13 or, with reach 4, all 25 */
    const int32_t *number;  /* [h + 2 DL_BORDER][stride]: where in a plane a block begins; 0: it is not stored */
    const int32_t *place;   /* [blocks]: where in `number` an active block stands */
    const int32_t *kind;    /* [blocks]: its weights */
    const float *weights;   /* [kinds][5, 13 or 25][DL_LANES] */
    const float *inside;    /* [blocks][DL_LANES]: 1 for the hole's cells, else 0 */
    const float *first, *second; /* [-DL_MARGIN ... h + DL_MARGIN], P's shares of cell i's two parents, down the rows */
    const float *left, *right;   /* [-DL_MARGIN ... w + DL_MARGIN], the same along a row */
};

#define DL_GRID_KERNELS(X)                                                                                                 \
    /* sums [h / lanes, rounded up][stride - 2][channels + 1]: of each square of blocks' pixels, and how many of them are known */ \
    X(void, sums, (const struct dl_grid *g, const float *image, const unsigned char *hole, float *sums))                  \
    /* p = the image [h][w][channels], where it is stored */                                                               \
    X(void, read, (const struct dl_grid *g, const float *image, float *p))                                                 \
    /* the image's cells = those of means [h / lanes, rounded up][stride - 2][channels], one for each square of blocks */     \
    X(void, set, (const struct dl_grid *g, const float *means, float *image))                                              \
    /* the image's cells += u */                                                                                           \
    X(void, add, (const struct dl_grid *g, const float *u, float *image))                                                \
    /* scale [blocks][lanes] = 1 / A's diagonal; largest [groups]: row sum of |a_ij| / a_ii. y is overwritten */           \
    X(void, bounds, (const struct dl_grid *g, float *y, float *scale, double *largest))                                    \
    /* x = gain scale b; y = 0 */                                                                                          \
    X(void, start, (const struct dl_grid *g, float *x, float *y, const float *b, const float *scale, float gain))          \
    /* y = x + keep (x - y) + gain scale (b - A x) */                                                                      \
    X(void, advance, (const struct dl_grid *g, const float *x, float *y, const float *b, const float *scale, float keep,   \
                      float gain))                                                                                         \
    /* y = b - A x */                                                                                                      \
    X(void, residual, (const struct dl_grid *g, const float *x, float *y, const float *b))                                 \
    /* q = A p; sums [groups][channels] of p q */                                                                          \
    X(void, product, (const struct dl_grid *g, const float *p, double *q, double *sums))                                   \
    /* sums [groups][channels] of r x */                                                                                   \
    X(void, dot, (const struct dl_grid *g, const double *r, const float *x, double *sums))                                 \
    /* p = x + beta p, beta [channels] */                                                                                  \
    X(void, turn, (const struct dl_grid *g, float *p, const float *x, const double *beta))                                 \
    /* u += alpha p; r -= alpha q; b = r; largest [groups]: |alpha p| */                                                   \
    X(void, step, (const struct dl_grid *g, float *u, double *r, float *b, const float *p, const double *q,                \
                   const double *alpha, double *largest))                                                                  \
    /* b of the coarse grid = P^T x of the fine one */                                                                     \
    X(void, gather, (const struct dl_grid *fine, const struct dl_grid *coarse, const float *x, float *b))                  \
    /* x of the fine grid += P y, y of the coarse one */                                                                   \
    X(void, spread, (const struct dl_grid *fine, const struct dl_grid *coarse, float *x, const float *y))                  \
    /* weights [coarse blocks][25][lanes] = P^T A P; active [fine cells / lanes]: which active block is stored there, or -1 */ \
    X(void, galerkin, (const struct dl_grid *fine, const struct dl_grid *coarse, const int32_t *active, float *weights))

struct dl_grid_kernels {
#define DL_MEMBER(result, name, arguments) result(*name) arguments;
    DL_GRID_KERNELS(DL_MEMBER)
#undef DL_MEMBER
};

const struct dl_grid_kernels *dl_grid_kernels(void); /* those of the best instruction set */
#endif
