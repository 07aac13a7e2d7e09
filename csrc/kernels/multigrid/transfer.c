/* Between a grid and the one of half its size: P and P^T, and P^T A P.
 *
 * Cell i's parents are the coarse cells (i + 1) / 2 - 1 and (i + 1) / 2; coarse cell I's children 2 I - 1 ... 2 I + 2, for the
 * first two of which it is the second parent. */
#include <stdlib.h>

#include "blocks.h"

#define TWICE(x) SHUFFLE(lane_numbers, x, x, 0, 1, 1, 2, 2, 3, 3, 4)

/* P's share of coarse row I in its child number k = 0 ... 3 */
INLINE float share(const struct dl_grid *fine, long I, int k) { return (k < 2 ? fine->second : fine->first)[2 * I - 1 + k]; }

void KERNEL(gather)(const struct dl_grid *fine, const struct dl_grid *coarse, const float *x, float *b) {
    EACH_GROUP(coarse, 16, EACH_BLOCK_OF_GROUP(coarse) {
        const long I = row_of(coarse, block), J = column_of(coarse, block) * DL_LANES;
        const int32_t *children = fine->number + (2 * I - 1 + DL_BORDER) * fine->stride + 2 * J / DL_LANES + 1;
        const float *left = fine->left + 2 * J - 1, *right = fine->right + 2 * J - 1;
        for (long c = 0; c < coarse->channels; c++) {
            lanes sum[3] = {{0}}; /* of four rows, from column 2 J - 1 on */
            for (int k = 0; k < 4; k++) {
                const float *row = x + c * fine->cells + children[k * fine->stride] - 1;
                for (int i = 0; i < 3; i++) sum[i] += share(fine, I, k) * GET(lanes, row + i * DL_LANES);
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
        const float first = fine->first[i], second = fine->second[i];
        const lanes left = GET(lanes, fine->left + J * DL_LANES), right = GET(lanes, fine->right + J * DL_LANES);
        const lanes inside = GET(lanes, fine->inside + block * DL_LANES);
        for (long c = 0; c < fine->channels; c++) {
            const float *up = y + c * coarse->cells + above + half, *down = y + c * coarse->cells + below + half;
            const lanes before = first * GET(lanes, up - 1) + second * GET(lanes, down - 1);
            const lanes after = first * GET(lanes, up) + second * GET(lanes, down);
            AT(lanes, x + c * fine->cells + position(fine, block)) += inside * (left * TWICE(before) + right * TWICE(after));
        }
    });
}

enum { AROUND = 8 }; /* a coarse cell's four children and two cells around them, along an axis */

/* Column 2 J - 3 + x of the fine grid for x = 0 ... 7 and each lane's coarse column J, out of four blocks of a row, the second of
 * which has the first lane's J at its beginning: wherever it is even or odd, every other of 32 numbers from some place on. */
INLINE void spread_columns(const float *const from[4], lanes of[AROUND]) {
    float even[4 * DL_HALF], odd[4 * DL_HALF];
    for (int i = 0; i < 4; i++)
        for (int l = 0; l < DL_HALF; l++) even[i * DL_HALF + l] = from[i][2 * l], odd[i * DL_HALF + l] = from[i][2 * l + 1];
    UNROLL for (int x = 0; x < AROUND; x++) of[x] = GET(lanes, (x % 2 ? even : odd) + (5 + x) / 2);
}

/* sums += here times the weights of the fine cells in the four blocks of a row, which is number y of the window; `here` and the
 * vectors of weights begin with the first child, x = 2 */
INLINE void add_weights(const float *const weights[4], const lanes here[4], int y, lanes sums[AROUND][AROUND], int reach) {
    int k = 0;
    UNROLL for (int dy = -2; dy <= 2; dy++) {
        UNROLL for (int dx = -2; dx <= 2; dx++) {
            if (abs(dy) + abs(dx) <= reach) {
                const lanes one = GET(lanes, weights[1] + k * DL_LANES), two = GET(lanes, weights[2] + k * DL_LANES);
                const lanes even = SHUFFLE(lane_numbers, one, two, 0, 2, 4, 6, 8, 10, 12, 14);
                const lanes odd = SHUFFLE(lane_numbers, one, two, 1, 3, 5, 7, 9, 11, 13, 15);
                const lanes before = GET(lanes, weights[0] + k * DL_LANES), behind = GET(lanes, weights[3] + k * DL_LANES);
                sums[y + dy][2 + dx] += here[0] * SHUFFLE(lane_numbers, before, odd, 7, 8, 9, 10, 11, 12, 13, 14);
                sums[y + dy][3 + dx] += here[1] * even;
                sums[y + dy][4 + dx] += here[2] * odd;
                sums[y + dy][5 + dx] += here[3] * SHUFFLE(lane_numbers, even, behind, 1, 2, 3, 4, 5, 6, 7, 8);
                k++;
            }
        }
    }
}

/* The weights of a block of coarse cells, P^T A P: A times P's columns, as far as it meets cells, then P^T, down and along. */
INLINE void coarse_weights(const struct dl_grid *fine, const struct dl_grid *coarse, long block, const int32_t *active, float *out,
                           int reach) {
    static const float none[DL_WINDOW * DL_LANES];
    const long I = row_of(coarse, block), J = column_of(coarse, block), column = 2 * J * DL_LANES;
    lanes sums[AROUND][AROUND] = {{{0}}}, exists[AROUND][AROUND], left[AROUND], right[AROUND];
    const float *at[4], *weights[4];
    for (int i = 0; i < 4; i++) at[i] = fine->left + column + (i - 1) * DL_LANES;
    spread_columns(at, left);
    for (int i = 0; i < 4; i++) at[i] = fine->right + column + (i - 1) * DL_LANES;
    spread_columns(at, right);
    for (int y = 0; y < AROUND; y++) {
        const long row = 2 * I - 3 + y;
        for (int i = 0; i < 4; i++) {
            const long found = block_at(fine, active, row, 2 * J - 1 + i);
            at[i] = found < 0 ? none : fine->inside + found * DL_LANES;
            weights[i] = found < 0 ? none : weights_of(fine, found, reach);
        }
        spread_columns(at, exists[y]);
        if (y < 2 || y > 5) continue;
        const float down = share(fine, I, y - 2);
        const lanes here[4] = {down * right[2] * exists[y][2], down * right[3] * exists[y][3], down * left[4] * exists[y][4],
                               down * left[5] * exists[y][5]};
        add_weights(weights, here, y, sums, reach);
    }
    lanes by_row[DL_SIDE][AROUND] = {{{0}}}, result[DL_SIDE][DL_SIDE] = {{{0}}};
    for (int y = 0; y < AROUND; y++) /* parents I - 2 + y / 2 and the next */
        UNROLL for (int x = 0; x < AROUND; x++) {
            by_row[y / 2][x] += fine->first[2 * I - 3 + y] * exists[y][x] * sums[y][x];
            by_row[y / 2 + 1][x] += fine->second[2 * I - 3 + y] * exists[y][x] * sums[y][x];
        }
    for (int Y = 0; Y < DL_SIDE; Y++)
        UNROLL for (int x = 0; x < AROUND; x++) {
            result[Y][x / 2] += left[x] * by_row[Y][x];
            result[Y][x / 2 + 1] += right[x] * by_row[Y][x];
        }
    for (int k = 0; k < DL_WINDOW; k++)
        AT(lanes, out + k * DL_LANES) = result[k / DL_SIDE][k % DL_SIDE] * GET(lanes, coarse->inside + block * DL_LANES);
}

INLINE void galerkin(const struct dl_grid *fine, const struct dl_grid *coarse, long group, const int32_t *active, float *weights,
                     int reach) {
    EACH_BLOCK_OF_GROUP(coarse) coarse_weights(fine, coarse, block, active, weights + block * DL_WINDOW * DL_LANES, reach);
}

void KERNEL(galerkin)(const struct dl_grid *fine, const struct dl_grid *coarse, const int32_t *active, float *weights) {
    EACH_GROUP(coarse, 1000, {
        if (fine->reach == 1) galerkin(fine, coarse, group, active, weights, 1);
        else if (fine->reach == 2) galerkin(fine, coarse, group, active, weights, 2);
        else galerkin(fine, coarse, group, active, weights, 4);
    });
}
