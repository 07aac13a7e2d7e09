/* Batch normalisation of x [m, c]: y = f(gamma xhat + beta + residual), where f is nothing, ReLU, ReLU6 or leaky
 * ReLU.
 *
 * Forward: one pass for mean and variance, one that writes y. Statistics are taken of blocks of DL_DEPTH rows about the
 * block's own mean (the second look at the block comes from the L1 cache) and combined in double after Chan, Golub &
 * LeVeque 1983, so neither a large mean nor many rows cost digits. Backward likewise: one pass for the two sums, one
 * that writes dx. Where f cut y off is computed again from x, which both passes read anyway; with a residual it is read
 * from y, once: the first pass writes dz, the residual's gradient, for the second. The second pass of each thread runs
 * backwards: what the first one read last is still in the cache. */
#ifndef REAL
#define BODY "norm.c"
#include "twice.h"
#else
#include "fold.h"
#include "vector.h"

/* Of n numbers the mean and the sum of squared distances from it; `b` joins `a`. */
#ifndef DL_JOIN
#define DL_JOIN
static inline void join(double n_a, double *mean_a, double *square_a, double share, double mean_b, double square_b) {
    const double apart = mean_b - *mean_a; /* share = n_b / (n_a + n_b) */
    *mean_a += apart * share;
    *square_a += square_b + apart * apart * (n_a * share);
}
#endif

/* One block of `depth` rows, `lanes` columns wide, f apart. */
INLINE void S(block_moments)(const REAL *restrict x, long depth, long f, const long lanes, double before,
                             double *restrict mean, double *restrict square) {
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

struct S(affine) { /* f numbers each; and the slope of leaky ReLU */
    const REAL *mean, *scale, *shift;
    REAL below;
};

INLINE REAL S(activated)(REAL v, const enum dl_norm_activation act, REAL below) {
    if (act == DL_NORM_LEAKY_RELU) return v > 0 ? v : below * v;
    if (act == DL_NORM_RELU6) return v <= 0 ? 0 : v >= 6 ? 6 : v;
    return act == DL_NORM_RELU && v <= 0 ? 0 : v;
}

/* dz, from z or y: they are cut off at the same places */
INLINE REAL S(slope_at)(REAL z, REAL dy, const enum dl_norm_activation act, REAL below) {
    const REAL cut = act == DL_NORM_LEAKY_RELU ? below * dy : 0;
    if (act == DL_NORM_RELU6) return (z > 0) & (z < 6) ? dy : 0;
    return act == DL_NORM_NONE || z > 0 ? dy : cut;
}

/* f(..., act) with an `act` that the compiler knows */
#define BY_ACTIVATION(act, f, ...)                                         \
    do {                                                                   \
        if ((act) == DL_NORM_NONE) f(__VA_ARGS__, DL_NORM_NONE);           \
        else if ((act) == DL_NORM_RELU) f(__VA_ARGS__, DL_NORM_RELU);      \
        else if ((act) == DL_NORM_RELU6) f(__VA_ARGS__, DL_NORM_RELU6);    \
        else f(__VA_ARGS__, DL_NORM_LEAKY_RELU);                           \
    } while (0)

/* y = f(scale (x - mean) + shift + residual) */
INLINE void S(affine_rows)(const REAL *restrict x, const REAL *restrict residual, REAL *restrict y, long m, long f,
                           const struct S(affine) * a, const enum dl_norm_activation act) {
    const REAL *restrict mean = a->mean, *restrict scale = a->scale, *restrict shift = a->shift, below = a->below;
    if (residual == NULL)
        for (long r = 0; r < m; r++, x += f, y += f)
            for (long j = 0; j < f; j++) y[j] = S(activated)(scale[j] * (x[j] - mean[j]) + shift[j], act, below);
    else
        for (long r = 0; r < m; r++, x += f, y += f, residual += f)
            for (long j = 0; j < f; j++)
                y[j] = S(activated)(scale[j] * (x[j] - mean[j]) + shift[j] + residual[j], act, below);
}

static void S(affine_of)(const REAL *x, const REAL *residual, REAL *y, long m, long f, const struct S(affine) * a,
                         enum dl_norm_activation act) {
    BY_ACTIVATION(act, S(affine_rows), x, residual, y, m, f, a);
}

/* all of y; `a` is for k rows of c side by side */
static void S(affine_all)(const REAL *x, const REAL *residual, REAL *y, long rows_in_all, long c, long k,
                          const struct S(affine) * a, enum dl_norm_activation act) {
    const long f = c * k, m = rows_in_all / k, left = rows_in_all - m * k;
    const long step = dl_max(1, 4096 / f); /* rows at a time, backwards */
    DL_SPLIT_FLUSHED(m, 1, m * f, for (long end = hi; end > lo; end -= step) {
        const long begin = dl_max(lo, end - step), at = begin * f;
        S(affine_of)(x + at, residual ? residual + at : NULL, y + at, end - begin, f, a, act);
    });
    const long at = m * f;
    if (left > 0) S(affine_of)(x + at, residual ? residual + at : NULL, y + at, 1, left * c, a, act);
}

int K(batch_norm_forward)(const void *x_, const void *gamma_, const void *beta_, const void *residual, double eps,
                          enum dl_norm_activation act, double below, void *y_, void *mean_, void *inv_std_,
                          long rows_in_all, long c) {
    const REAL *x = x_, *gamma = gamma_, *beta = beta_;
    REAL *mean = mean_, *inv_std = inv_std_;
    if (c == 0) return DL_OK;
    const long k = S(fold)(c), f = k * c, m = rows_in_all / k, left = rows_in_all - m * k;
    const long parts = S(parts)(m, f);
    double *work = malloc((size_t)(2 * parts * f + 2 * c) * sizeof(double) + (size_t)(3 * f) * sizeof(REAL));
    if (work == NULL) return DL_NO_MEMORY;
    REAL *rows = (REAL *)(work + 2 * parts * f + 2 * c);
    double *left_mean = work + 2 * parts * f, *left_square = left_mean + c;
    DL_SPLIT_FLUSHED(parts, 1, m * f, for (long i = lo; i < hi; i++) {
        const long first = S(part_row)(m, parts, i), end = S(part_row)(m, parts, i + 1);
        S(moments)(x + first * f, end - first, f, work + 2 * i * f, work + (2 * i + 1) * f);
    });
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
        mean[j] = rows[j] = (REAL)all_mean;
        inv_std[j] = (REAL)(1 / sqrt(square / (double)rows_in_all + eps));
        rows[f + j] = gamma[j] * inv_std[j]; /* the same bits as in backward, so that z has the same sign there */
        rows[2 * f + j] = beta[j];
    }
    for (long i = 0; i < 3; i++) S(repeat)(rows + i * f, c, k - 1, rows + i * f + c);
    const struct S(affine) a = {rows, rows + f, rows + 2 * f, (REAL)below};
    S(affine_all)(x, residual, y_, rows_in_all, c, k, &a, act);
    free(work);
    return DL_OK;
}

int K(batch_norm_inference)(const void *x, const void *gamma_, const void *beta_, const void *mean_, const void *var_,
                            const void *residual, double eps, enum dl_norm_activation act, double below, void *y,
                            long rows_in_all, long c) {
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
    const struct S(affine) a = {rows, rows + f, rows + 2 * f, (REAL)below};
    S(affine_all)(x, residual, y, rows_in_all, c, k, &a, act);
    free(rows);
    return DL_OK;
}

struct S(slopes) { /* what the two backward passes read and write */
    const REAL *dy, *x, *y;
    REAL *dz, *dx;
};

INLINE struct S(slopes) S(from)(struct S(slopes) s, long at) {
    return (struct S(slopes)){s.dy + at, s.x + at, s.y ? s.y + at : NULL, s.dz ? s.dz + at : NULL, s.dx + at};
}

/* flow[] += dz and along[] += dz (x - mean) over `depth` rows of f, `lanes` columns from `column` on */
INLINE void S(block_slopes)(const REAL *restrict dy, const REAL *restrict x, long depth, long f, const long lanes,
                            long column, const struct S(affine) * a, double *restrict flow, double *restrict along,
                            const enum dl_norm_activation act) {
    const REAL *restrict mean = a->mean + column, *restrict scale = a->scale + column, *restrict shift = a->shift + column;
    const REAL below = a->below;
    REAL g_sum[DL_LANES] = {0}, gx_sum[DL_LANES] = {0};
    for (long d = 0; d < depth; d++)
        for (long j = 0; j < lanes; j++) {
            const REAL slope = dy[d * f + column + j], apart = x[d * f + column + j] - mean[j];
            const REAL g = S(slope_at)(scale[j] * apart + shift[j], slope, act, below);
            g_sum[j] += g;
            gx_sum[j] += g * apart;
        }
    for (long j = 0; j < lanes; j++) {
        flow[column + j] += (double)g_sum[j];
        along[column + j] += (double)gx_sum[j];
    }
}

INLINE void S(slopes_of)(const REAL *dy, const REAL *x, long depth, long f, const struct S(affine) * a, double *flow,
                         double *along, const enum dl_norm_activation act) {
    long c = 0;
    for (; c + DL_LANES <= f; c += DL_LANES) S(block_slopes)(dy, x, depth, f, DL_LANES, c, a, flow, along, act);
    if (c < f) S(block_slopes)(dy, x, depth, f, f - c, c, a, flow, along, act);
}

INLINE void S(slopes_from_y)(const REAL *restrict dy, const REAL *restrict y, REAL *restrict dz, long n, REAL below,
                             const enum dl_norm_activation act) {
    for (long i = 0; i < n; i++) dz[i] = S(slope_at)(y[i], dy[i], act, below);
}

/* the first pass over m rows: the two sums, and dz where it is wanted */
static void S(sum_slopes)(struct S(slopes) all, long m, long f, const struct S(affine) * a, double *flow, double *along,
                          enum dl_norm_activation act) {
    for (long r = 0; r < m; r += DL_DEPTH) {
        const struct S(slopes) s = S(from)(all, r * f);
        const long depth = dl_min(DL_DEPTH, m - r);
        if (s.dz == NULL) {
            BY_ACTIVATION(act, S(slopes_of), s.dy, s.x, depth, f, a, flow, along);
        } else {
            BY_ACTIVATION(act, S(slopes_from_y), s.dy, s.y, s.dz, depth * f, a->below);
            S(slopes_of)(s.dz, s.x, depth, f, a, flow, along, DL_NORM_NONE);
        }
    }
}

/* dx = scale dz + tilt (x - mean) + level */
INLINE void S(dx_rows)(struct S(slopes) s, long m, long f, const struct S(affine) * a, const REAL *restrict tilt,
                       const REAL *restrict level, const enum dl_norm_activation act) {
    const REAL *restrict mean = a->mean, *restrict scale = a->scale, *restrict shift = a->shift, below = a->below;
    const REAL *restrict dy = s.dy, *restrict x = s.x;
    REAL *restrict dx = s.dx;
    for (long r = 0; r < m; r++, dy += f, x += f, dx += f)
        for (long j = 0; j < f; j++) {
            const REAL slope = dy[j], apart = x[j] - mean[j];
            const REAL g = S(slope_at)(scale[j] * apart + shift[j], slope, act, below);
            dx[j] = scale[j] * g + (tilt[j] * apart + level[j]);
        }
}

static void S(dx_of)(struct S(slopes) s, long m, long f, const struct S(affine) * a, const REAL *tilt, const REAL *level,
                     enum dl_norm_activation act) {
    BY_ACTIVATION(act, S(dx_rows), s, m, f, a, tilt, level);
}

int K(batch_norm_backward)(const void *dy, const void *x, const void *y, const void *gamma_, const void *beta_,
                           const void *mean, const void *inv_std_, enum dl_norm_activation act, double below, void *dx,
                           void *dgamma_, void *dbeta_, void *dz, long rows_in_all, long c) {
    const REAL *gamma = gamma_, *beta = beta_, *inv_std = inv_std_;
    REAL *dgamma = dgamma_, *dbeta = dbeta_;
    if (c == 0) return DL_OK;
    const long k = S(fold)(c), f = k * c, m = rows_in_all / k, left = rows_in_all - m * k;
    const long parts = S(parts)(m, f);
    double *work = calloc((size_t)(2 * parts * f) * sizeof(double) + (size_t)(5 * f) * sizeof(REAL), 1);
    if (work == NULL) return DL_NO_MEMORY;
    REAL *rows = (REAL *)(work + 2 * parts * f), *tilt = rows + 3 * f, *level = rows + 4 * f;
    const struct S(affine) a = {rows, rows + f, rows + 2 * f, (REAL)below};
    S(repeat)(mean, c, k, rows);
    for (long j = 0; j < c; j++) rows[f + j] = gamma[j] * inv_std[j];
    S(repeat)(rows + f, c, k - 1, rows + f + c);
    S(repeat)(beta, c, k, rows + 2 * f);
    struct S(slopes) s = {dy, x, y, dz, dx};
    DL_SPLIT_FLUSHED(parts, 1, m * f, for (long i = lo; i < hi; i++) {
        const long first = S(part_row)(m, parts, i), end = S(part_row)(m, parts, i + 1);
        S(sum_slopes)(S(from)(s, first * f), end - first, f, &a, work + 2 * i * f, work + (2 * i + 1) * f, act);
    });
    S(sum_slopes)(S(from)(s, m * f), left, c, &a, work, work + f, act);
    for (long j = 0; j < c; j++) {
        double flow = 0, along = 0;
        for (long i = 0; i < parts; i++)
            for (long l = j; l < f; l += c) flow += work[2 * i * f + l], along += work[(2 * i + 1) * f + l];
        const double scale = (double)gamma[j] * (double)inv_std[j], per = 1 / (double)rows_in_all;
        dbeta[j] = (REAL)flow;
        dgamma[j] = (REAL)(along * (double)inv_std[j]);
        tilt[j] = (REAL)(-scale * (double)inv_std[j] * (double)inv_std[j] * along * per);
        level[j] = (REAL)(-scale * flow * per);
    }
    S(repeat)(tilt, c, k - 1, tilt + c);
    S(repeat)(level, c, k - 1, level + c);
    if (dz != NULL) s.dy = dz, act = DL_NORM_NONE; /* the first pass has applied the slope */
    const long step = dl_max(1, 4096 / f);
    DL_SPLIT_FLUSHED(m, 1, m * f, for (long end = hi; end > lo; end -= step) {
        const long begin = dl_max(lo, end - step);
        S(dx_of)(S(from)(s, begin * f), end - begin, f, &a, tilt, level, act);
    });
    if (left > 0) S(dx_of)(S(from)(s, m * f), 1, left * c, &a, tilt, level, act);
    free(work);
    return DL_OK;
}

#undef BY_ACTIVATION
#undef DL_LANES
#undef DL_DEPTH
#endif
