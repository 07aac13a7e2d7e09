/* Batch normalisation of x [m, c], ReLU fused.
 *
 * Forward: one pass for mean and variance, one that writes y. Statistics are taken of blocks of DL_DEPTH rows about the
 * block's own mean (the second look at the block comes from the L1 cache) and combined in double after Chan, Golub &
 * LeVeque 1983, so neither a large mean nor many rows cost digits. Backward likewise: one pass for the two sums, one
 * that writes dx. The second pass of each thread runs backwards: what the first one read last is still in the cache. */
#ifndef REAL
#define BODY "norm.c"
#include "twice.h"
#else
#include "fold.h"

/* Of n numbers the mean and the sum of squared distances from it; `b` joins `a`. */
#ifndef DL_JOIN
#define DL_JOIN
static inline __attribute__((always_inline)) void join(double n_a, double *mean_a, double *square_a, double share,
                                                       double mean_b, double square_b) {
    const double apart = mean_b - *mean_a; /* share = n_b / (n_a + n_b) */
    *mean_a += apart * share;
    *square_a += square_b + apart * apart * (n_a * share);
}
#endif

/* One block of `depth` rows, `lanes` columns wide, f apart. */
static inline __attribute__((always_inline)) void S(block_moments)(const REAL *restrict x, long depth, long f, const long lanes,
                                                                   double before, double *restrict mean,
                                                                   double *restrict square) {
    REAL sum[DL_LANES] = {0}, about[DL_LANES], spread[DL_LANES] = {0};
    const REAL per = (REAL)1 / (REAL)depth;
    for (long d = 0; d < depth; d++)
        for (long j = 0; j < lanes; j++) sum[j] += x[d * f + j];
    for (long j = 0; j < lanes; j++) about[j] = sum[j] * per;
    for (long d = 0; d < depth; d++)
        for (long j = 0; j < lanes; j++) {
            const REAL apart = x[d * f + j] - about[j];
            spread[j] += apart * apart;
        }
    const double share = (double)depth / (before + (double)depth);
    for (long j = 0; j < lanes; j++) join(before, mean + j, square + j, share, (double)about[j], (double)spread[j]);
}

static void S(moments)(const REAL *x, long m, long f, double *mean, double *square) {
    for (long c = 0; c < 2 * f; c++) (c < f ? mean : square - f)[c] = 0;
    for (long r = 0; r < m; r += DL_DEPTH) {
        const long depth = dl_min(DL_DEPTH, m - r);
        long c = 0;
        for (; c + DL_LANES <= f; c += DL_LANES)
            S(block_moments)(x + r * f + c, depth, f, DL_LANES, (double)r, mean + c, square + c);
        if (c < f) S(block_moments)(x + r * f + c, depth, f, f - c, (double)r, mean + c, square + c);
    }
}

/* row[k][c] = from[c], k times */
static void S(repeat)(const REAL *from, long c, long k, REAL *row) {
    for (long i = 0; i < k; i++) memcpy(row + i * c, from, (size_t)c * sizeof(REAL));
}

/* y = scale (x - mean) + shift, and no less than 0 with relu */
static inline __attribute__((always_inline)) void S(affine_rows)(const REAL *restrict x, REAL *restrict y, long m, long f,
                                                                 const REAL *restrict mean, const REAL *restrict scale,
                                                                 const REAL *restrict shift, const int relu) {
    for (long r = 0; r < m; r++, x += f, y += f)
        for (long j = 0; j < f; j++) {
            const REAL v = scale[j] * (x[j] - mean[j]) + shift[j];
            y[j] = relu && v <= 0 ? 0 : v;
        }
}

static void S(affine)(const REAL *x, REAL *y, long m, long f, const REAL *rows, int relu) {
    if (relu)
        S(affine_rows)(x, y, m, f, rows, rows + f, rows + 2 * f, 1);
    else
        S(affine_rows)(x, y, m, f, rows, rows + f, rows + 2 * f, 0);
}

/* The whole of y; rows: mean, scale, shift, each of f */
static void S(affine_all)(const REAL *x, REAL *y, long rows_in_all, long c, long k, const REAL *rows, int relu) {
    const long f = c * k, m = rows_in_all / k, left = rows_in_all - m * k;
    const long step = dl_max(1, 4096 / f); /* rows at a time, backwards */
    DL_SPLIT(m, 1, m * f, for (long end = hi; end > lo; end -= step) {
        const long begin = dl_max(lo, end - step);
        S(affine)(x + begin * f, y + begin * f, end - begin, f, rows, relu);
    });
    if (left == 0) return;
    x += m * f, y += m * f;
    for (long j = 0; j < left * c; j++) { /* fewer than k rows */
        const REAL v = rows[f + j] * (x[j] - rows[j]) + rows[2 * f + j];
        y[j] = relu && v <= 0 ? 0 : v;
    }
}

int K(batch_norm_forward)(const void *x_, const void *gamma_, const void *beta_, double eps, int relu, void *y_,
                          void *mean_, void *inv_std_, long rows_in_all, long c) {
    const REAL *x = x_, *gamma = gamma_, *beta = beta_;
    REAL *mean = mean_, *inv_std = inv_std_;
    if (c == 0) return DL_OK;
    const long k = S(fold)(c), f = k * c, m = rows_in_all / k, left = rows_in_all - m * k;
    const long parts = S(parts)(m, f);
    double *work = malloc((size_t)(2 * parts * f + 2 * c) * sizeof(double) + (size_t)(3 * f) * sizeof(REAL));
    if (work == NULL) return DL_NO_MEMORY;
    REAL *rows = (REAL *)(work + 2 * parts * f + 2 * c);
    double *left_mean = work + 2 * parts * f, *left_square = left_mean + c;
#pragma omp parallel for schedule(static) if (dl_worth_threads(m * f))
    for (long i = 0; i < parts; i++) {
        const long lo = S(part_row)(m, parts, i), hi = S(part_row)(m, parts, i + 1);
        S(moments)(x + lo * f, hi - lo, f, work + 2 * i * f, work + (2 * i + 1) * f);
    }
    S(moments)(x + m * f, left, c, left_mean, left_square);
    for (long j = 0; j < c; j++) {
        double n = (double)left, all_mean = left_mean[j], square = left_square[j];
        for (long i = 0; i < parts; i++) {
            const double size = (double)(S(part_row)(m, parts, i + 1) - S(part_row)(m, parts, i));
            for (long l = j; l < f && size > 0; l += c) {
                join(n, &all_mean, &square, size / (n + size), work[2 * i * f + l], work[(2 * i + 1) * f + l]);
                n += size;
            }
        }
        const double deviation = 1 / sqrt(square / (double)rows_in_all + eps);
        mean[j] = rows[j] = (REAL)all_mean;
        inv_std[j] = (REAL)deviation;
        rows[f + j] = (REAL)((double)gamma[j] * deviation);
        rows[2 * f + j] = beta[j];
    }
    for (long i = 0; i < 3; i++) S(repeat)(rows + i * f, c, k - 1, rows + i * f + c);
    S(affine_all)(x, y_, rows_in_all, c, k, rows, relu);
    free(work);
    return DL_OK;
}

int K(batch_norm_inference)(const void *x, const void *gamma_, const void *beta_, const void *mean_, const void *var_,
                            double eps, int relu, void *y, long rows_in_all, long c) {
    const REAL *gamma = gamma_, *beta = beta_, *mean = mean_, *var = var_;
    if (c == 0) return DL_OK;
    const long k = S(fold)(c), f = k * c;
    REAL *rows = malloc((size_t)(3 * f) * sizeof(REAL));
    if (rows == NULL) return DL_NO_MEMORY;
    for (long j = 0; j < c; j++) {
        rows[j] = mean[j];
        rows[f + j] = (REAL)((double)gamma[j] / sqrt((double)var[j] + eps));
        rows[2 * f + j] = beta[j];
    }
    for (long i = 0; i < 3; i++) S(repeat)(rows + i * f, c, k - 1, rows + i * f + c);
    S(affine_all)(x, y, rows_in_all, c, k, rows, relu);
    free(rows);
    return DL_OK;
}

/* flow[] += g and along[] += g (x - mean) over m rows; g is dy, or 0 where relu cut y off */
static inline __attribute__((always_inline)) void S(block_slopes)(const REAL *restrict dy, const REAL *restrict x,
                                                                  const REAL *restrict y, long depth, long f, const long lanes,
                                                                  const REAL *restrict mean, double *restrict flow,
                                                                  double *restrict along, const int relu) {
    REAL g_sum[DL_LANES] = {0}, gx_sum[DL_LANES] = {0};
    for (long d = 0; d < depth; d++)
        for (long j = 0; j < lanes; j++) {
            const REAL slope = dy[d * f + j]; /* loaded in any case: a masked load is slower */
            const REAL g = !relu || y[d * f + j] > 0 ? slope : 0;
            g_sum[j] += g;
            gx_sum[j] += g * (x[d * f + j] - mean[j]);
        }
    for (long j = 0; j < lanes; j++) {
        flow[j] += (double)g_sum[j];
        along[j] += (double)gx_sum[j];
    }
}

static inline __attribute__((always_inline)) void S(slopes_of)(const REAL *dy, const REAL *x, const REAL *y, long m, long f,
                                                               const REAL *mean, double *flow, double *along,
                                                               const int relu) {
    for (long r = 0; r < m; r += DL_DEPTH) {
        const long depth = dl_min(DL_DEPTH, m - r);
        long c = 0;
        for (; c + DL_LANES <= f; c += DL_LANES)
            S(block_slopes)(dy + r * f + c, x + r * f + c, y + r * f + c, depth, f, DL_LANES, mean + c, flow + c,
                            along + c, relu);
        if (c < f)
            S(block_slopes)(dy + r * f + c, x + r * f + c, y + r * f + c, depth, f, f - c, mean + c, flow + c,
                            along + c, relu);
    }
}

static void S(slopes)(const REAL *dy, const REAL *x, const REAL *y, long m, long f, const REAL *mean, double *flow,
                      double *along, int relu) {
    if (relu)
        S(slopes_of)(dy, x, y, m, f, mean, flow, along, 1);
    else
        S(slopes_of)(dy, x, y, m, f, mean, flow, along, 0);
}

/* dx = scale g + tilt (x - mean) + shift */
static inline __attribute__((always_inline)) void S(dx_rows)(const REAL *restrict dy, const REAL *restrict x,
                                                             const REAL *restrict y, REAL *restrict dx, long m, long f,
                                                             const REAL *restrict mean, const REAL *restrict scale,
                                                             const REAL *restrict tilt, const REAL *restrict shift,
                                                             const int relu) {
    for (long r = 0; r < m; r++, dy += f, x += f, y += f, dx += f)
        for (long j = 0; j < f; j++) {
            const REAL slope = dy[j];
            const REAL g = !relu || y[j] > 0 ? slope : 0;
            dx[j] = scale[j] * g + (tilt[j] * (x[j] - mean[j]) + shift[j]);
        }
}

static void S(dx_of)(const REAL *dy, const REAL *x, const REAL *y, REAL *dx, long m, long f, const REAL *rows, long ld,
                     int relu) {
    if (relu)
        S(dx_rows)(dy, x, y, dx, m, f, rows, rows + ld, rows + 2 * ld, rows + 3 * ld, 1);
    else
        S(dx_rows)(dy, x, y, dx, m, f, rows, rows + ld, rows + 2 * ld, rows + 3 * ld, 0);
}

int K(batch_norm_backward)(const void *dy_, const void *x_, const void *y_, const void *gamma_, const void *mean_,
                           const void *inv_std_, int relu, void *dx_, void *dgamma_, void *dbeta_, long rows_in_all, long c) {
    const REAL *dy = dy_, *x = x_, *y = y_, *gamma = gamma_, *mean = mean_, *inv_std = inv_std_;
    REAL *dx = dx_, *dgamma = dgamma_, *dbeta = dbeta_;
    if (c == 0) return DL_OK;
    const long k = S(fold)(c), f = k * c, m = rows_in_all / k, left = rows_in_all - m * k;
    const long parts = S(parts)(m, f);
    double *work = calloc((size_t)(2 * parts * f) * sizeof(double) + (size_t)(4 * f) * sizeof(REAL), 1);
    if (work == NULL) return DL_NO_MEMORY;
    REAL *rows = (REAL *)(work + 2 * parts * f);
    S(repeat)(mean, c, k, rows);
#pragma omp parallel for schedule(static) if (dl_worth_threads(m * f))
    for (long i = 0; i < parts; i++) {
        const long lo = S(part_row)(m, parts, i), hi = S(part_row)(m, parts, i + 1);
        S(slopes)(dy + lo * f, x + lo * f, y + lo * f, hi - lo, f, rows, work + 2 * i * f, work + (2 * i + 1) * f, relu);
    }
    S(slopes)(dy + m * f, x + m * f, y + m * f, left, c, rows, work, work + f, relu);
    for (long j = 0; j < c; j++) {
        double flow = 0, along = 0;
        for (long i = 0; i < parts; i++)
            for (long l = j; l < f; l += c) flow += work[2 * i * f + l], along += work[(2 * i + 1) * f + l];
        const double scale = (double)gamma[j] * (double)inv_std[j], per = 1 / (double)rows_in_all;
        dbeta[j] = (REAL)flow;
        dgamma[j] = (REAL)(along * (double)inv_std[j]);
        rows[f + j] = (REAL)scale;
        rows[2 * f + j] = (REAL)(-scale * (double)inv_std[j] * (double)inv_std[j] * along * per);
        rows[3 * f + j] = (REAL)(-scale * flow * per);
    }
    for (long i = 1; i < 4; i++) S(repeat)(rows + i * f, c, k - 1, rows + i * f + c);
    const long step = dl_max(1, 4096 / f);
    DL_SPLIT(m, 1, m * f, for (long end = hi; end > lo; end -= step) {
        const long begin = dl_max(lo, end - step), at = begin * f;
        S(dx_of)(dy + at, x + at, y + at, dx + at, end - begin, f, rows, f, relu);
    });
    const long at = m * f;
    if (left > 0) S(dx_of)(dy + at, x + at, y + at, dx + at, 1, left * c, rows, f, relu);
    free(work);
    return DL_OK;
}

#undef DL_LANES
#undef DL_DEPTH
#endif
