/* Pooling of images [n, h, w, c]: vectors run along the channels, threads take rows. Backward gathers: each row of dx
 * looks up the rows of dy whose windows reach it, so no two threads write the same number. */
#ifndef REAL
#define BODY "pool.c"
#include "twice.h"
#else

#define INLINE static inline __attribute__((always_inline))
#define LANES ((long)(64 / sizeof(REAL)))
#if DL_F64
#define INDEX int64_t /* as wide as REAL: one mask serves value and position */
#else
#define INDEX int32_t
#endif

/* One vector: GCC's vectoriser makes nothing good of a value and a byte kept side by side, so here it is said. */
#if defined(__AVX512F__)
#define WIDE 64
#elif defined(__AVX__)
#define WIDE 32
#else
#define WIDE 16
#endif
#define V ((long)(WIDE / sizeof(REAL)))
typedef REAL S(vec) __attribute__((vector_size(WIDE), aligned(sizeof(REAL)), may_alias));
typedef INDEX S(index_vec) __attribute__((vector_size(WIDE)));
typedef uint8_t S(byte_vec) __attribute__((vector_size(WIDE / sizeof(REAL)), aligned(1), may_alias));

struct S(best_vec) {
    S(vec) value;
    S(index_vec) at;
};

struct S(best) {
    REAL value;
    uint8_t at;
};

/* `best` or (v, at), whichever is larger, or the first NaN */
INLINE struct S(best_vec) S(better_vec)(struct S(best_vec) best, const REAL *from, INDEX at) {
    const S(vec) v = *(const S(vec) *)from;
    const S(index_vec) better = (v > best.value) | ((v != v) & (best.value == best.value));
    best.value = (S(vec))((better & (S(index_vec))v) | (~better & (S(index_vec))best.value));
    best.at = (better & at) | (~better & best.at);
    return best;
}

INLINE struct S(best) S(better)(struct S(best) best, REAL v, long at) {
    const int better = (v > best.value) | ((v != v) & (best.value == best.value));
    return better ? (struct S(best)){v, (uint8_t)at} : best;
}

/* ---- 2x2 windows, stride 2, no padding ---------------------------------------------------------------------- */

INLINE int S(halving)(const struct dl_pool *g) {
    return g->r == 2 && g->s == 2 && g->stride_h == 2 && g->stride_w == 2 && g->top == 0 && g->left == 0 &&
           2 * g->oh <= g->h && 2 * g->ow <= g->w;
}

INLINE void S(max_halve)(const REAL *restrict x, const REAL *restrict below, REAL *restrict y, uint8_t *restrict where,
                         const long ow, const long c) {
    for (long i = 0; i < ow; i++, x += 2 * c, below += 2 * c, y += c, where += c) {
        long j = 0;
        for (; j + V <= c; j += V) {
            struct S(best_vec) best = {*(const S(vec) *)(x + j), {0}};
            best = S(better_vec)(best, x + c + j, 1);
            best = S(better_vec)(best, below + j, 2);
            best = S(better_vec)(best, below + c + j, 3);
            *(S(vec) *)(y + j) = best.value;
            *(S(byte_vec) *)(where + j) = __builtin_convertvector(best.at, S(byte_vec));
        }
        for (; j < c; j++) {
            struct S(best) best = {x[j], 0};
            best = S(better)(best, x[c + j], 1);
            best = S(better)(best, below[j], 2);
            best = S(better)(best, below[c + j], 3);
            y[j] = best.value, where[j] = best.at;
        }
    }
}

INLINE S(vec) S(where_at)(S(vec) d, S(index_vec) at, INDEX here) { return (S(vec))((S(index_vec))d & (at == here)); }

INLINE void S(max_unhalve)(const REAL *restrict dy, const uint8_t *restrict where, REAL *restrict dx,
                           REAL *restrict below, const long ow, const long c) {
    for (long i = 0; i < ow; i++, dy += c, where += c, dx += 2 * c, below += 2 * c) {
        long j = 0;
        for (; j + V <= c; j += V) {
            const S(vec) d = *(const S(vec) *)(dy + j);
            const S(index_vec) at = __builtin_convertvector(*(const S(byte_vec) *)(where + j), S(index_vec));
            *(S(vec) *)(dx + j) = S(where_at)(d, at, 0);
            *(S(vec) *)(dx + c + j) = S(where_at)(d, at, 1);
            *(S(vec) *)(below + j) = S(where_at)(d, at, 2);
            *(S(vec) *)(below + c + j) = S(where_at)(d, at, 3);
        }
        for (; j < c; j++) {
            const REAL d = dy[j];
            dx[j] = where[j] == 0 ? d : 0;
            dx[c + j] = where[j] == 1 ? d : 0;
            below[j] = where[j] == 2 ? d : 0;
            below[c + j] = where[j] == 3 ? d : 0;
        }
    }
}

INLINE void S(mean_halve)(const REAL *restrict x, const REAL *restrict below, REAL *restrict y, const long ow, const long c) {
    for (long i = 0; i < ow; i++)
        for (long j = 0; j < c; j++)
            y[i * c + j] = (REAL)0.25 * ((x[2 * i * c + j] + x[(2 * i + 1) * c + j]) +
                                         (below[2 * i * c + j] + below[(2 * i + 1) * c + j]));
}

INLINE void S(mean_unhalve)(const REAL *restrict dy, REAL *restrict dx, REAL *restrict below, const long ow, const long c) {
    for (long i = 0; i < ow; i++)
        for (long j = 0; j < c; j++) {
            const REAL d = (REAL)0.25 * dy[i * c + j];
            dx[2 * i * c + j] = dx[(2 * i + 1) * c + j] = below[2 * i * c + j] = below[(2 * i + 1) * c + j] = d;
        }
}

/* A channel count known to the compiler makes short inner loops straight code. */
#define BY_CHANNELS(c, CALL)               \
    switch (c) {                           \
        case 1: CALL(1); break;            \
        case 3: CALL(3); break;            \
        case 6: CALL(6); break;            \
        case 8: CALL(8); break;            \
        case 16: CALL(16); break;          \
        case 32: CALL(32); break;          \
        case 64: CALL(64); break;          \
        default: CALL(c);                  \
    }

static void S(max_halve_row)(const REAL *x, const REAL *below, REAL *y, uint8_t *where, long ow, long c) {
#define CALL(n) S(max_halve)(x, below, y, where, ow, n)
    BY_CHANNELS(c, CALL)
#undef CALL
}

static void S(mean_halve_row)(const REAL *x, const REAL *below, REAL *y, long ow, long c) {
#define CALL(n) S(mean_halve)(x, below, y, ow, n)
    BY_CHANNELS(c, CALL)
#undef CALL
}

/* where NULL: the mean's slope */
static void S(unhalve_row)(const REAL *dy, const uint8_t *where, REAL *dx, REAL *below, const struct dl_pool *g) {
    const long c = g->c, ow = g->ow, done = 2 * ow * c;
    if (where != NULL) {
#define CALL(n) S(max_unhalve)(dy, where, dx, below, ow, n)
        BY_CHANNELS(c, CALL)
#undef CALL
    } else {
#define CALL(n) S(mean_unhalve)(dy, dx, below, ow, n)
        BY_CHANNELS(c, CALL)
#undef CALL
    }
    memset(dx + done, 0, (size_t)(g->w * c - done) * sizeof(REAL));
    memset(below + done, 0, (size_t)(g->w * c - done) * sizeof(REAL));
}

/* row `i` of the n * oh rows of dy writes two rows of dx; an image's last one also those that no window reaches */
static void S(unhalve)(const REAL *dy, const uint8_t *where, REAL *dx, const struct dl_pool *g, long i) {
    const long image = i / g->oh, oh = i % g->oh, line = g->w * g->c, out = g->ow * g->c;
    REAL *to = dx + (image * g->h + 2 * oh) * line;
    S(unhalve_row)(dy + i * out, where == NULL ? NULL : where + i * out, to, to + line, g);
    if (oh == g->oh - 1) memset(to + 2 * line, 0, (size_t)((g->h - 2 * g->oh) * line) * sizeof(REAL));
}

/* ---- any window ------------------------------------------------------------------------------------------------ */

struct S(window) { /* the part of a window inside the image, in pixels of the image */
    long top, bottom, left, right;
};

INLINE struct S(window) S(window_at)(const struct dl_pool *g, long oh, long ow) {
    const long y = oh * g->stride_h - g->top, x = ow * g->stride_w - g->left;
    return (struct S(window)){dl_max(y, 0), dl_min(y + g->r, g->h), dl_max(x, 0), dl_min(x + g->s, g->w)};
}

/* Which outputs of `count` have a window over pixel `at`: first..last */
INLINE long S(first_over)(long at, long pad, long size, long stride) {
    const long low = at + pad - size + 1;
    return low <= 0 ? 0 : (low + stride - 1) / stride;
}
INLINE long S(last_over)(long at, long pad, long stride, long count) { return dl_min(count - 1, (at + pad) / stride); }

static void S(max_row)(const REAL *x, REAL *y, uint8_t *where, const struct dl_pool *g, long oh) {
    for (long ow = 0; ow < g->ow; ow++, y += g->c, where += g->c) {
        const struct S(window) in = S(window_at)(g, oh, ow);
        const long y0 = oh * g->stride_h - g->top, x0 = ow * g->stride_w - g->left;
        if (in.top >= in.bottom || in.left >= in.right) { /* a window in the padding altogether */
            for (long c = 0; c < g->c; c++) y[c] = (REAL)-__builtin_inf(), where[c] = 0;
            continue;
        }
        const REAL *corner = x + (y0 * g->w + x0) * g->c;
        const long first = (in.top - y0) * g->s + in.left - x0;
        long c = 0;
#define EACH_PIXEL for (long r = in.top - y0; r < in.bottom - y0; r++) for (long s = in.left - x0; s < in.right - x0; s++)
#define PIXEL(r, s) (corner + ((r) * g->w + (s)) * g->c + c)
        for (; c + V <= g->c; c += V) {
            struct S(best_vec) best = {*(const S(vec) *)PIXEL(in.top - y0, in.left - x0), {0}};
            best.at += (INDEX)first;
            EACH_PIXEL best = S(better_vec)(best, PIXEL(r, s), (INDEX)(r * g->s + s));
            *(S(vec) *)(y + c) = best.value;
            *(S(byte_vec) *)(where + c) = __builtin_convertvector(best.at, S(byte_vec));
        }
        for (; c < g->c; c++) {
            struct S(best) best = {*PIXEL(in.top - y0, in.left - x0), (uint8_t)first};
            EACH_PIXEL best = S(better)(best, *PIXEL(r, s), r * g->s + s);
            y[c] = best.value, where[c] = best.at;
        }
#undef EACH_PIXEL
#undef PIXEL
    }
}

void K(max_pool2d_forward)(const void *x_, void *y_, uint8_t *where, const struct dl_pool *g) {
    const REAL *x = x_;
    REAL *y = y_;
    const long line = g->w * g->c, out = g->ow * g->c;
    const int halving = S(halving)(g);
    DL_SPLIT(g->n * g->oh, 1, g->n * g->h * line, for (long i = lo; i < hi; i++) {
        const long oh = i % g->oh;
        const REAL *image = x + i / g->oh * g->h * line;
        if (halving)
            S(max_halve_row)(image + 2 * oh * line, image + (2 * oh + 1) * line, y + i * out, where + i * out, g->ow, g->c);
        else
            S(max_row)(image, y + i * out, where + i * out, g, oh);
    });
}

static void S(max_slopes_row)(const REAL *dy, const uint8_t *where, REAL *restrict dx, const struct dl_pool *g, long h) {
    const long out = g->ow * g->c, last = S(last_over)(h, g->top, g->stride_h, g->oh);
    memset(dx, 0, (size_t)(g->w * g->c) * sizeof(REAL));
    for (long oh = S(first_over)(h, g->top, g->r, g->stride_h); oh <= last; oh++)
        for (long ow = 0; ow < g->ow; ow++) {
            const long x0 = ow * g->stride_w - g->left;
            const REAL *restrict d = dy + oh * out + ow * g->c;
            const uint8_t *restrict at = where + oh * out + ow * g->c;
            for (long s = dl_max(0, -x0); s < dl_min(g->s, g->w - x0); s++) {
                REAL *restrict to = dx + (x0 + s) * g->c;
                const INDEX here = (INDEX)((h - (oh * g->stride_h - g->top)) * g->s + s);
                for (long c = 0; c < g->c; c++) to[c] += (INDEX)at[c] == here ? d[c] : 0;
            }
        }
}

void K(max_pool2d_backward)(const void *dy_, const uint8_t *where, void *dx_, const struct dl_pool *g) {
    const REAL *dy = dy_;
    REAL *dx = dx_;
    const long line = g->w * g->c, out = g->oh * g->ow * g->c;
    if (S(halving)(g) && g->oh > 0)
        DL_SPLIT(g->n * g->oh, 1, g->n * g->h * line, for (long i = lo; i < hi; i++) S(unhalve)(dy, where, dx, g, i));
    else
        DL_SPLIT(g->n * g->h, 1, g->n * g->h * line, for (long i = lo; i < hi; i++)
            S(max_slopes_row)(dy + i / g->h * out, where + i / g->h * out, dx + i * line, g, i % g->h));
}

static void S(mean_row)(const REAL *restrict x, REAL *restrict y, const struct dl_pool *g, long oh) {
    for (long ow = 0; ow < g->ow; ow++, y += g->c) {
        const struct S(window) in = S(window_at)(g, oh, ow);
        const REAL per = (REAL)1 / (REAL)(dl_max(0, in.bottom - in.top) * dl_max(0, in.right - in.left));
        for (long c0 = 0; c0 < g->c; c0 += LANES) {
            const long lanes = dl_min(LANES, g->c - c0);
            REAL total[LANES] = {0};
            for (long h = in.top; h < in.bottom; h++) {
                REAL across[LANES] = {0}; /* a sum a row: fewer roundings than one running sum */
                for (long w = in.left; w < in.right; w++) {
                    const REAL *from = x + (h * g->w + w) * g->c + c0;
                    if (lanes == LANES)
                        for (long j = 0; j < LANES; j++) across[j] += from[j];
                    else
                        for (long j = 0; j < lanes; j++) across[j] += from[j];
                }
                for (long j = 0; j < LANES; j++) total[j] += across[j];
            }
            for (long j = 0; j < lanes; j++) y[c0 + j] = total[j] * per;
        }
    }
}

void K(avg_pool2d_forward)(const void *x_, void *y_, const struct dl_pool *g) {
    const REAL *x = x_;
    REAL *y = y_;
    const long line = g->w * g->c, out = g->ow * g->c;
    const int halving = S(halving)(g);
    DL_SPLIT(g->n * g->oh, 1, g->n * g->h * line, for (long i = lo; i < hi; i++) {
        const long oh = i % g->oh;
        const REAL *image = x + i / g->oh * g->h * line;
        if (halving)
            S(mean_halve_row)(image + 2 * oh * line, image + (2 * oh + 1) * line, y + i * out, g->ow, g->c);
        else
            S(mean_row)(image, y + i * out, g, oh);
    });
}

static void S(mean_slopes_row)(const REAL *dy, REAL *restrict dx, const struct dl_pool *g, long h) {
    const long out = g->ow * g->c, last = S(last_over)(h, g->top, g->stride_h, g->oh);
    memset(dx, 0, (size_t)(g->w * g->c) * sizeof(REAL));
    for (long oh = S(first_over)(h, g->top, g->r, g->stride_h); oh <= last; oh++)
        for (long ow = 0; ow < g->ow; ow++) {
            const struct S(window) in = S(window_at)(g, oh, ow);
            const REAL per = (REAL)1 / (REAL)((in.bottom - in.top) * (in.right - in.left));
            const REAL *restrict d = dy + oh * out + ow * g->c;
            for (long w = in.left; w < in.right; w++) {
                REAL *restrict to = dx + w * g->c;
                for (long c = 0; c < g->c; c++) to[c] += d[c] * per;
            }
        }
}

void K(avg_pool2d_backward)(const void *dy_, void *dx_, const struct dl_pool *g) {
    const REAL *dy = dy_;
    REAL *dx = dx_;
    const long line = g->w * g->c, out = g->oh * g->ow * g->c;
    if (S(halving)(g) && g->oh > 0)
        DL_SPLIT(g->n * g->oh, 1, g->n * g->h * line, for (long i = lo; i < hi; i++) S(unhalve)(dy, NULL, dx, g, i));
    else
        DL_SPLIT(g->n * g->h, 1, g->n * g->h * line, for (long i = lo; i < hi; i++)
            S(mean_slopes_row)(dy + i / g->h * out, dx + i * line, g, i % g->h));
}

/* ---- adaptive: output i of `count` averages pixels floor(i size / count) .. ceil((i + 1) size / count) - 1 --------- */

INLINE long S(begin)(long i, long size, long count) { return i * size / count; }
INLINE long S(end)(long i, long size, long count) { return ((i + 1) * size + count - 1) / count; }

/* y[c] = the mean over a box of pixels; total: c doubles of work */
static void S(mean_box)(const REAL *restrict x, REAL *restrict y, double *restrict total, const struct dl_pool *g,
                        struct S(window) in) {
    const long c = g->c, across = in.right - in.left, pixels = (in.bottom - in.top) * across;
    for (long j = 0; j < c; j++) total[j] = 0;
    for (long p0 = 0; p0 < pixels; p0 += 32) {
        const long p1 = dl_min(pixels, p0 + 32);
        for (long c0 = 0; c0 < c; c0 += 2 * LANES) {
            const long lanes = dl_min(2 * LANES, c - c0);
            REAL sum[2 * LANES] = {0};
            long h = in.top + p0 / across, w = in.left + p0 % across;
            for (long p = p0; p < p1; p++) {
                const REAL *from = x + (h * g->w + w) * c + c0;
                if (lanes == 2 * LANES)
                    for (long j = 0; j < 2 * LANES; j++) sum[j] += from[j];
                else
                    for (long j = 0; j < lanes; j++) sum[j] += from[j];
                if (++w == in.right) w = in.left, h++;
            }
            for (long j = 0; j < lanes; j++) total[c0 + j] += (double)sum[j];
        }
    }
    for (long j = 0; j < c; j++) y[j] = (REAL)(total[j] / (double)pixels);
}

int K(adaptive_avg_pool2d_forward)(const void *x_, void *y_, const struct dl_pool *g) {
    const REAL *x = x_;
    REAL *y = y_;
    const long image = g->h * g->w * g->c, boxes = g->oh * g->ow;
    int failed = 0;
    if (boxes * g->n == 0) return DL_OK;
    DL_SPLIT(g->n * boxes, 1, g->n * image, {
        double *total = malloc((size_t)g->c * sizeof(double) + 1);
        if (total == NULL) {
            _Pragma("omp atomic write") failed = 1;
        } else {
            for (long i = lo; i < hi; i++) {
                const long oh = i % boxes / g->ow, ow = i % g->ow;
                const struct S(window) in = {S(begin)(oh, g->h, g->oh), S(end)(oh, g->h, g->oh),
                                             S(begin)(ow, g->w, g->ow), S(end)(ow, g->w, g->ow)};
                S(mean_box)(x + i / boxes * image, y + i * g->c, total, g, in);
            }
        }
        free(total);
    });
    return failed ? DL_NO_MEMORY : DL_OK;
}

static void S(adaptive_slopes_row)(const REAL *dy, REAL *restrict dx, const struct dl_pool *g, long h) {
    memset(dx, 0, (size_t)(g->w * g->c) * sizeof(REAL));
    for (long oh = dl_max(0, h * g->oh / g->h - 1); oh < g->oh && S(begin)(oh, g->h, g->oh) <= h; oh++) {
        const long down = S(end)(oh, g->h, g->oh) - S(begin)(oh, g->h, g->oh);
        if (S(end)(oh, g->h, g->oh) <= h) continue;
        for (long ow = 0; ow < g->ow; ow++) {
            const long left = S(begin)(ow, g->w, g->ow), right = S(end)(ow, g->w, g->ow);
            const REAL per = (REAL)1 / (REAL)(down * (right - left));
            const REAL *restrict d = dy + (oh * g->ow + ow) * g->c;
            for (long w = left; w < right; w++) {
                REAL *restrict to = dx + w * g->c;
                for (long c = 0; c < g->c; c++) to[c] += d[c] * per;
            }
        }
    }
}

void K(adaptive_avg_pool2d_backward)(const void *dy_, void *dx_, const struct dl_pool *g) {
    const REAL *dy = dy_;
    REAL *dx = dx_;
    const long line = g->w * g->c, out = g->oh * g->ow * g->c;
    DL_SPLIT(g->n * g->h, 1, g->n * g->h * line, for (long i = lo; i < hi; i++)
        S(adaptive_slopes_row)(dy + i / g->h * out, dx + i * line, g, i % g->h));
}

#undef INLINE
#undef LANES
#undef INDEX
#undef WIDE
#undef V
#undef BY_CHANNELS
#endif
