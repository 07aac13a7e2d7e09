/* Sums. Short runs are added in REAL, the runs' sums in double: both faster and closer than one running sum. */
#ifndef REAL
#define BODY "reduce.c"
#include "twice.h"
#else
#include "fold.h"

#define RUN 1024

static double S(sum_run)(const REAL *restrict x, long n) {
    REAL lane[DL_LANES] = {0};
    double total = 0;
    long i = 0;
    for (; i + DL_LANES <= n; i += DL_LANES)
        for (long j = 0; j < DL_LANES; j++) lane[j] += x[i + j];
    if (i > 0)
        for (long j = 0; j < DL_LANES; j++) total += (double)lane[j];
    for (; i < n; i++) total += (double)x[i];
    return total;
}

static double S(sum_squares_run)(const REAL *restrict x, long n) {
    double lane[16] = {0}, total = 0;
    long i = 0;
    for (; i + 16 <= n; i += 16)
        for (long j = 0; j < 16; j++) lane[j] += (double)x[i + j] * (double)x[i + j];
    for (long j = 0; j < 16; j++) total += lane[j];
    for (; i < n; i++) total += (double)x[i] * (double)x[i];
    return total;
}

typedef double S(run_sum)(const REAL *, long);

static double S(sum_runs)(S(run_sum) * run, const REAL *x, long n) {
    double total = 0;
    for (long i = 0; i < n; i += RUN) total += run(x + i, dl_min(RUN, n - i));
    return total;
}

static double S(sum_all)(S(run_sum) * run, const REAL *x, long n) {
    enum { PARTS = 64 };
    double part[PARTS], total = 0;
    if (n < DL_SERIAL) return S(sum_runs)(run, x, n);
    const long size = (n / RUN / PARTS + 1) * RUN;
#pragma omp parallel for schedule(static) if (dl_worth_threads(n))
    for (long i = 0; i < PARTS; i++) {
        const long lo = dl_min(n, i * size);
        part[i] = S(sum_runs)(run, x + lo, dl_min(size, n - lo));
    }
    for (long i = 0; i < PARTS; i++) total += part[i];
    return total;
}

double K(sum_of_squares)(const void *x, long n) { return S(sum_all)(S(sum_squares_run), x, n); }

/* total[j] += the first `lanes` columns of x [depth, f] */
static inline __attribute__((always_inline)) void S(add_block)(const REAL *restrict x, long depth, long f, const long lanes,
                                                               double *restrict total) {
    REAL lane[2 * DL_LANES] = {0};
    for (long d = 0; d < depth; d++)
        for (long j = 0; j < lanes; j++) lane[j] += x[d * f + j];
    for (long j = 0; j < lanes; j++) total[j] += (double)lane[j];
}

/* total[f] += the columns of x [m, f] */
static void S(add_columns)(const REAL *x, long m, long f, double *total) {
    for (long r = 0; r < m; r += DL_DEPTH) {
        const long depth = dl_min(DL_DEPTH, m - r);
        long c = 0;
        for (; c + 2 * DL_LANES <= f; c += 2 * DL_LANES) S(add_block)(x + r * f + c, depth, f, 2 * DL_LANES, total + c);
        for (; c < f; c += 2 * DL_LANES) S(add_block)(x + r * f + c, depth, f, dl_min(2 * DL_LANES, f - c), total + c);
    }
}

/* Part i of the columns of x [m, f]: its own sums in work. */
static void S(sum_part)(const REAL *x, long m, long f, long parts, long i, double *work) {
    const long lo = S(part_row)(m, parts, i), hi = S(part_row)(m, parts, i + 1);
    S(add_columns)(x + lo * f, hi - lo, f, work + i * f);
}

/* y[c] = the columns of x [b, c]; work: parts * f doubles. `shared`: by all threads; entering a region costs more than many
 * a sum, so those that belong to one thread alone must not even ask for one. */
static void S(sum_columns)(const REAL *x, REAL *y, long b, long c, double *work, int shared) {
    const long k = S(fold)(c), f = k * c, m = b / k, parts = S(parts)(m, f);
    memset(work, 0, (size_t)(parts * f) * sizeof(double));
    if (shared && parts > 1 && dl_worth_threads(b * c)) {
#pragma omp parallel for schedule(static)
        for (long i = 0; i < parts; i++) S(sum_part)(x, m, f, parts, i, work);
    } else {
        for (long i = 0; i < parts; i++) S(sum_part)(x, m, f, parts, i, work);
    }
    S(add_columns)(x + m * f, b - m * k, c, work);
    for (long j = 0; j < c; j++) {
        double total = 0;
        for (long i = 0; i < parts * k; i++) total += work[i * c + j];
        y[j] = (REAL)total;
    }
}

/* y [.., c] = the columns of blocks lo..hi of x [.., b, c]; 1 if there is no memory for `size` doubles */
static int S(sum_blocks)(const REAL *x, REAL *y, long b, long c, long size, long lo, long hi,
                         int shared) {
    double *work = malloc((size_t)size * sizeof(double));
    if (work == NULL) return 1;
    for (long i = lo; i < hi; i++) S(sum_columns)(x + i * b * c, y + i * c, b, c, work, shared);
    free(work);
    return 0;
}

int K(sum)(const void *x_, void *y_, long a, long b, long c) {
    const REAL *x = x_;
    REAL *y = y_;
    if (a * c == 0) return DL_OK;
    if (c == 1 && a == 1) {
        y[0] = (REAL)S(sum_all)(S(sum_run), x, b);
    } else if (c == 1) {
        DL_SPLIT(a, 16, a * b, for (long i = lo; i < hi; i++) y[i] = (REAL)S(sum_runs)(S(sum_run), x + i * b, b));
    } else {
        const long k = S(fold)(c), f = k * c, size = f * S(parts)(b / k, f);
        int failed = 0;
        if (a > 1 && dl_worth_threads(a * b * c)) {
#pragma omp parallel reduction(| : failed)
            failed |= S(sum_blocks)(x, y, b, c, size, a * dl_thread_id() / dl_team(), a * (dl_thread_id() + 1) / dl_team(), 0);
        } else { /* not `parallel if`: a region inside even an inactive one starts new threads every time */
            failed = S(sum_blocks)(x, y, b, c, size, 0, a, a == 1);
        }
        if (failed) return DL_NO_MEMORY;
    }
    return DL_OK;
}

static int S(finite_range)(const REAL *x, long n) {
    const REAL largest = sizeof(REAL) == 4 ? (REAL)__FLT_MAX__ : (REAL)__DBL_MAX__;
    for (long i = 0; i < n; i += 4096) {
        const long size = dl_min(4096, n - i);
#if DL_F64
        int64_t bad = 0;
#else
        int32_t bad = 0;
#endif
        for (long j = 0; j < size; j++) bad |= !(__builtin_fabs(x[i + j]) <= largest);
        if (bad) return 0;
    }
    return 1;
}

int K(all_finite)(const void *x_, long n) {
    const REAL *x = x_;
    int bad = 0;
    if (!dl_worth_threads(n)) return S(finite_range)(x, n);
#pragma omp parallel for schedule(static) reduction(| : bad)
    for (long i = 0; i < 16; i++) bad |= !S(finite_range)(x + n * i / 16, n * (i + 1) / 16 - n * i / 16);
    return !bad;
}

#undef RUN
#undef DL_LANES
#undef DL_DEPTH
#endif
