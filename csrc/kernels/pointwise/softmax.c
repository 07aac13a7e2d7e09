/* Softmax and its relatives over rows [m, k]. Short rows are exponentiated many at a time, so that ten classes still
 * fill the vectors. */
#ifndef REAL
#define BODY "softmax.c"
#include "twice.h"
#else

#include "vector.h"

#define GROUP 1024
#define DEPTH 32 /* vectors added up in REAL before the sum moves on to double */

/* of numbers <= 0 (or NaN) */
static void S(exp_in_place)(REAL *restrict x, long n) {
    for (long i = 0; i < n; i++) x[i] = M(exp_down)(x[i]);
}

INLINE S(vec) S(larger)(S(vec) a, S(vec) b) {
    const S(index_vec) mask = b > a;
    return (S(vec))((mask & (S(index_vec))b) | (~mask & (S(index_vec))a));
}

static REAL S(row_max)(const REAL *x, long n) {
    REAL most = x[0];
    long i = 0;
    if (n >= 4 * V) {
        S(vec) lane[4] = {S(load)(x), S(load)(x + V), S(load)(x + 2 * V), S(load)(x + 3 * V)};
        for (i = 4 * V; i + 4 * V <= n; i += 4 * V)
            for (long v = 0; v < 4; v++) lane[v] = S(larger)(lane[v], S(load)(x + i + v * V));
        const S(vec) all = S(larger)(S(larger)(lane[0], lane[1]), S(larger)(lane[2], lane[3]));
        for (long j = 0; j < V; j++) most = all[j] > most ? all[j] : most;
    }
    for (; i < n; i++) most = x[i] > most ? x[i] : most;
    return most;
}

/* the sum of x, or of x times y */
INLINE double S(row_total)(const REAL *x, const REAL *y, long n) {
    double total = 0;
    long i = 0;
    while (i + 4 * V <= n) {
        S(vec) lane[4] = {{0}};
        for (const long end = dl_min(n - 4 * V, i + (DEPTH - 1) * 4 * V); i <= end; i += 4 * V)
            for (long v = 0; v < 4; v++) {
                S(vec) one = S(load)(x + i + v * V);
                if (y != NULL) one *= S(load)(y + i + v * V);
                lane[v] += one;
            }
        total += S(lanes)((lane[0] + lane[1]) + (lane[2] + lane[3]));
    }
    for (; i < n; i++) total += (double)x[i] * (y == NULL ? 1 : (double)y[i]);
    return total;
}

static double S(row_sum)(const REAL *x, long n) { return S(row_total)(x, NULL, n); }
static double S(row_dot)(const REAL *x, const REAL *y, long n) { return S(row_total)(x, y, n); }

/* y = x - max for rows lo..hi; most[row - lo] = max if asked for */
static void S(below_max)(const REAL *x, REAL *y, long rows, long k, REAL *most) {
    for (long r = 0; r < rows; r++, x += k, y += k) {
        const REAL top = S(row_max)(x, k);
        if (most != NULL) most[r] = top;
        for (long j = 0; j < k; j++) y[j] = x[j] - top;
    }
}

/* p = softmax(x); log_sum[row] = log(sum exp(x - max)), most[row] = max where asked for; at most GROUP rows */
static void S(softmax_group)(const REAL *x, REAL *p, long rows, long k, REAL *most, double *log_sum) {
    S(below_max)(x, p, rows, k, most);
    S(exp_in_place)(p, rows * k);
    for (long r = 0; r < rows; r++) {
        const double sum = S(row_sum)(p + r * k, k);
        const REAL per = (REAL)(1 / sum);
        if (log_sum != NULL) log_sum[r] = log(sum);
        for (long j = 0; j < k; j++) p[r * k + j] *= per;
    }
}

#define EACH_GROUP(m, k, work) /* from..from + rows, by threads */                                          \
    const long size_ = dl_max(1, GROUP / (k));                                                              \
    DL_SPLIT(m, size_, (m) * (k), for (long from = lo; from < hi; from += size_) {                          \
        const long rows = dl_min(size_, hi - from);                                                         \
        work;                                                                                               \
    })

void K(softmax)(const void *x_, void *y_, long m, long k) {
    const REAL *x = x_;
    REAL *y = y_;
    if (k == 0) return;
    EACH_GROUP(m, k, S(softmax_group)(x + from * k, y + from * k, rows, k, NULL, NULL));
}

static void S(log_softmax_group)(const REAL *x, REAL *y, long rows, long k) {
    REAL e[GROUP];
    S(below_max)(x, y, rows, k, NULL);
    if (k <= GROUP) {
        memcpy(e, y, (size_t)(rows * k) * sizeof(REAL));
        S(exp_in_place)(e, rows * k);
    }
    for (long r = 0; r < rows; r++, y += k) {
        double sum = 0;
        if (k <= GROUP) sum = S(row_sum)(e + r * k, k);
        else
            for (long i = 0; i < k; i += GROUP) {
                const long n = dl_min(GROUP, k - i);
                memcpy(e, y + i, (size_t)n * sizeof(REAL));
                S(exp_in_place)(e, n);
                sum += S(row_sum)(e, n);
            }
        const REAL log_sum = (REAL)log(sum);
        for (long j = 0; j < k; j++) y[j] -= log_sum;
    }
}

void K(log_softmax)(const void *x_, void *y_, long m, long k) {
    const REAL *x = x_;
    REAL *y = y_;
    if (k == 0) return;
    EACH_GROUP(m, k, S(log_softmax_group)(x + from * k, y + from * k, rows, k));
}

static void S(softmax_slopes)(const REAL *restrict dy, const REAL *restrict y, REAL *restrict dx, long rows, long k) {
    for (long r = 0; r < rows; r++, dy += k, y += k, dx += k) {
        const REAL dot = (REAL)S(row_dot)(dy, y, k);
        for (long j = 0; j < k; j++) dx[j] = y[j] * (dy[j] - dot);
    }
}

void K(softmax_backward)(const void *dy, const void *y, void *dx, long m, long k) {
    if (k == 0) return;
    EACH_GROUP(m, k, S(softmax_slopes)((const REAL *)dy + from * k, (const REAL *)y + from * k, (REAL *)dx + from * k, rows, k));
}

static void S(log_softmax_slopes)(const REAL *restrict dy, const REAL *restrict y, REAL *restrict dx, long rows, long k) {
    memcpy(dx, y, (size_t)(rows * k) * sizeof(REAL));
    S(exp_in_place)(dx, rows * k);
    for (long r = 0; r < rows; r++, dy += k, dx += k) {
        const REAL sum = (REAL)S(row_sum)(dy, k);
        for (long j = 0; j < k; j++) dx[j] = dy[j] - dx[j] * sum;
    }
}

void K(log_softmax_backward)(const void *dy, const void *y, void *dx, long m, long k) {
    if (k == 0) return;
    EACH_GROUP(m, k, S(log_softmax_slopes)((const REAL *)dy + from * k, (const REAL *)y + from * k, (REAL *)dx + from * k, rows, k));
}

/* With q = (1 - smoothing) onehot + smoothing / k, the loss of a row is -sum w q (x - max - log_sum). */
static void S(cross_entropy_group)(const REAL *x, const int64_t *labels, const REAL *w, double smoothing, REAL *loss,
                                   REAL *p, long rows, long k) {
    REAL most[GROUP];
    double log_sum[GROUP];
    S(softmax_group)(x, p, rows, k, most, log_sum);
    for (long r = 0; r < rows; r++, x += k) {
        const long label = (long)labels[r];
        const double zero = (double)most[r] + log_sum[r];
        double total = 0;
        if (smoothing != 1) total = (1 - smoothing) * (w == NULL ? 1 : (double)w[label]) * (zero - (double)x[label]);
        if (smoothing != 0) {
            double spread = 0;
            for (long j = 0; j < k; j++) spread += (w == NULL ? 1 : (double)w[j]) * (zero - (double)x[j]);
            total += smoothing / (double)k * spread;
        }
        loss[r] = (REAL)total;
    }
}

static int S(bad_labels)(const int64_t *labels, long m, long k) {
    int bad = 0;
    for (long i = 0; i < m; i++) bad |= labels[i] < 0 || labels[i] >= k;
    return bad;
}

int K(cross_entropy_forward)(const void *x_, const int64_t *labels, const void *w, double smoothing, void *loss_,
                             void *p_, long m, long k) {
    const REAL *x = x_;
    REAL *loss = loss_, *p = p_;
    if (S(bad_labels)(labels, m, k)) return DL_BAD_LABEL;
    if (m == 0) return DL_OK;
    EACH_GROUP(m, k, S(cross_entropy_group)(x + from * k, labels + from, w, smoothing, loss + from, p + from * k, rows, k));
    return DL_OK;
}

static void S(cross_entropy_slopes)(const REAL *dloss, const REAL *p, const int64_t *labels, const REAL *restrict w,
                                    double w_sum, double smoothing, REAL *dx, long rows, long k) {
    const double even = smoothing / (double)k;
    for (long r = 0; r < rows; r++, p += k, dx += k) {
        const long label = (long)labels[r];
        const double d = (double)dloss[r], own = (1 - smoothing) * (w == NULL ? 1 : (double)w[label]);
        const REAL scale = (REAL)(d * (own + even * w_sum)), less = (REAL)(d * even);
        if (w == NULL)
            for (long j = 0; j < k; j++) dx[j] = scale * p[j] - less;
        else
            for (long j = 0; j < k; j++) dx[j] = scale * p[j] - less * w[j];
        const double w_label = w == NULL ? 1 : (double)w[label];
        dx[label] = (REAL)(d * ((own + even * w_sum) * (double)p[label] - even * w_label - own));
    }
}

int K(cross_entropy_backward)(const void *dloss_, const void *p_, const int64_t *labels, const void *w_,
                              double smoothing, void *dx_, long m, long k) {
    const REAL *dloss = dloss_, *p = p_, *w = w_;
    REAL *dx = dx_;
    if (S(bad_labels)(labels, m, k)) return DL_BAD_LABEL;
    if (m == 0) return DL_OK;
    const double w_sum = w == NULL ? (double)k : S(row_sum)(w, k);
    EACH_GROUP(m, k, S(cross_entropy_slopes)(dloss + from, p + from * k, labels + from, w, w_sum, smoothing, dx + from * k, rows, k));
    return DL_OK;
}

#undef DEPTH
#undef GROUP
#undef EACH_GROUP
#endif
