/* Pooling of images [n, h, w, c]: vectors run along the channels, threads take rows. Backward gathers: each row of dx
 * looks up the rows of dy whose windows reach it, so no two threads write the same number. */
#ifndef REAL
#define BODY "pool.c"
#include "twice.h"
#else

#include "vector.h"

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
    const S(vec) v = S(load)(from);
    const S(index_vec) better = ~(v <= best.value) & (best.value == best.value);
    best.value = (S(vec))((better & (S(index_vec))v) | (~better & (S(index_vec))best.value));
    best.at = (better & at) | (~better & best.at);
    return best;
}

/* writes `best` to y and where */
INLINE void S(put)(struct S(best_vec) best, REAL *y, uint8_t *where) {
    *(S(vec) *)y = best.value;
#if defined(DL_VECTORS_64)
    *(S(byte_vec) *)where = __builtin_convertvector(best.at, S(byte_vec));
#else /* GCC would convert one number at a time; a shuffle gathers the low bytes */
#define BYTE(i) ((i) < V ? (i) * (long)sizeof(REAL) : 0)
    typedef uint8_t bytes __attribute__((vector_size(WIDE)));
    const bytes low = {BYTE(0), BYTE(1), BYTE(2), BYTE(3), BYTE(4), BYTE(5), BYTE(6), BYTE(7)};
    const bytes all = __builtin_shuffle((bytes)best.at, low);
    memcpy(where, &all, (size_t)V);
#undef BYTE
#endif
}

/* the positions of one vector; a loop, because GCC would convert a vector one number at a time */
INLINE S(index_vec) S(get)(const uint8_t *where) {
    INDEX at[V];
    S(index_vec) all;
    for (long i = 0; i < V; i++) at[i] = where[i];
    memcpy(&all, at, sizeof all);
    return all;
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
            struct S(best_vec) best = {S(load)(x + j), {0}};
            best = S(better_vec)(best, x + c + j, 1);
            best = S(better_vec)(best, below + j, 2);
            best = S(better_vec)(best, below + c + j, 3);
            S(put)(best, y + j, where + j);
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
            const S(vec) d = S(load)(dy + j);
            const S(index_vec) at = S(get)(where + j);
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

/* rows r0..r1 and columns s0..s1 of one window of `across` columns, whose first pixel is `corner`; not empty */
INLINE void S(max_window)(const REAL *corner, long line, long c, long r0, const long r1, long s0, const long s1,
                          const long across, REAL *y, uint8_t *where) {
    long j = 0;
#define EACH_PIXEL for (long r = r0; r < r1; r++) for (long s = s0; s < s1; s++)
    for (; j + V <= c; j += V) {
        struct S(best_vec) best = {S(load)(corner + r0 * line + s0 * c + j), {0}};
        best.at += (INDEX)(r0 * across + s0);
        EACH_PIXEL best = S(better_vec)(best, corner + r * line + s * c + j, (INDEX)(r * across + s));
        S(put)(best, y + j, where + j);
    }
    for (; j < c; j++) {
        struct S(best) best = {corner[r0 * line + s0 * c + j], (uint8_t)(r0 * across + s0)};
        EACH_PIXEL best = S(better)(best, corner[r * line + s * c + j], r * across + s);
        y[j] = best.value, where[j] = best.at;
    }
#undef EACH_PIXEL
}

static void S(max_row)(const REAL *x, REAL *y, uint8_t *where, const struct dl_pool *g, long oh) {
    const long line = g->w * g->c;
    for (long ow = 0; ow < g->ow; ow++, y += g->c, where += g->c) {
        const struct S(window) in = S(window_at)(g, oh, ow);
        const long y0 = oh * g->stride_h - g->top, x0 = ow * g->stride_w - g->left;
        const REAL *corner = x + y0 * line + x0 * g->c;
        if (in.top >= in.bottom || in.left >= in.right) { /* a window in the padding altogether */
            for (long c = 0; c < g->c; c++) y[c] = (REAL)-__builtin_inf(), where[c] = 0;
        } else if (g->r == 3 && g->s == 3 && in.bottom - in.top == 3 && in.right - in.left == 3) {
            S(max_window)(corner, line, g->c, 0, 3, 0, 3, 3, y, where); /* unrolled */
        } else {
            S(max_window)(corner, line, g->c, in.top - y0, in.bottom - y0, in.left - x0, in.right - x0, g->s, y, where);
        }
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

/* One pixel of dx gathers from the windows over it. */
enum { S(REACH) = 16 };

struct S(reach) {
    const REAL *dy;
    const uint8_t *where;
    INDEX here; /* the pixel's place in that window */
};

INLINE void S(max_gather)(const struct S(reach) * from, const long count, REAL *restrict dx, long c) {
    long j = 0;
    for (; j + V <= c; j += V) {
        S(vec) sum = {0};
        for (long i = 0; i < count; i++) {
            const S(index_vec) at = S(get)(from[i].where + j);
            sum += S(where_at)(S(load)(from[i].dy + j), at, from[i].here);
        }
        *(S(vec) *)(dx + j) = sum;
    }
    for (; j < c; j++) {
        REAL sum = 0;
        for (long i = 0; i < count; i++) sum += from[i].where[j] == from[i].here ? from[i].dy[j] : 0;
        dx[j] = sum;
    }
}

static void S(max_gather_row)(const REAL *dy, const uint8_t *where, REAL *dx, const struct dl_pool *g, long h) {
    const long oh0 = S(first_over)(h, g->top, g->r, g->stride_h), oh1 = S(last_over)(h, g->top, g->stride_h, g->oh);
    long ow0 = 0, ow1 = -1; /* the windows over pixel w: they move on with w, without a division */
    for (long w = 0; w < g->w; w++, dx += g->c) {
        while (ow0 * g->stride_w - g->left + g->s <= w) ow0++;
        while (ow1 + 1 < g->ow && (ow1 + 1) * g->stride_w - g->left <= w) ow1++;
        struct S(reach) from[S(REACH)];
        long count = 0;
        for (long oh = oh0; oh <= oh1; oh++)
            for (long ow = ow0; ow <= ow1; ow++) {
                const long at = (oh * g->ow + ow) * g->c;
                const long here = (h + g->top - oh * g->stride_h) * g->s + w + g->left - ow * g->stride_w;
                from[count++] = (struct S(reach)){dy + at, where + at, (INDEX)here};
            }
        switch (count) { /* a count known to the compiler keeps the pointers in registers */
            case 1: S(max_gather)(from, 1, dx, g->c); break;
            case 2: S(max_gather)(from, 2, dx, g->c); break;
            case 4: S(max_gather)(from, 4, dx, g->c); break;
            default: S(max_gather)(from, count, dx, g->c);
        }
    }
}

void K(max_pool2d_backward)(const void *dy_, const uint8_t *where, void *dx_, const struct dl_pool *g) {
    const REAL *dy = dy_;
    REAL *dx = dx_;
    const long line = g->w * g->c, out = g->oh * g->ow * g->c;
    if (S(halving)(g) && g->oh > 0)
        DL_SPLIT(g->n * g->oh, 1, g->n * g->h * line, for (long i = lo; i < hi; i++) S(unhalve)(dy, where, dx, g, i));
    else if (g->c >= 64 && /* with fewer, finding the windows over a pixel costs more than the pixel */
             ((g->r - 1) / g->stride_h + 1) * ((g->s - 1) / g->stride_w + 1) <= S(REACH))
        DL_SPLIT(g->n * g->h, 1, g->n * g->h * line, for (long i = lo; i < hi; i++)
            S(max_gather_row)(dy + i / g->h * out, where + i / g->h * out, dx + i * line, g, i % g->h));
    else
        DL_SPLIT(g->n * g->h, 1, g->n * g->h * line, for (long i = lo; i < hi; i++)
            S(max_slopes_row)(dy + i / g->h * out, where + i / g->h * out, dx + i * line, g, i % g->h));
}

static void S(mean_row)(const REAL *x, REAL *y, const struct dl_pool *g, long oh) {
    const long line = g->w * g->c;
    for (long ow = 0; ow < g->ow; ow++, y += g->c) {
        const struct S(window) in = S(window_at)(g, oh, ow);
        const long down = dl_max(0, in.bottom - in.top), across = dl_max(0, in.right - in.left);
        const REAL per = (REAL)1 / (REAL)(down * across), *first = x + in.top * line + in.left * g->c;
        long c = 0;
        /* a sum for each row: fewer roundings than one running sum */
        for (; c + V <= g->c; c += V) {
            S(vec) total = {0};
            for (long r = 0; r < down; r++) {
                S(vec) row = {0};
                for (long s = 0; s < across; s++) row += S(load)(first + r * line + s * g->c + c);
                total += row;
            }
            *(S(vec) *)(y + c) = total * per;
        }
        for (; c < g->c; c++) {
            REAL total = 0;
            for (long r = 0; r < down; r++) {
                REAL row = 0;
                for (long s = 0; s < across; s++) row += first[r * line + s * g->c + c];
                total += row;
            }
            y[c] = total * per;
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

/* y[c] = the mean over a box of pixels: a sum for each row of the box, added up in double */
static void S(mean_box)(const REAL *x, REAL *y, const struct dl_pool *g, struct S(window) in) {
    const long line = g->w * g->c, down = in.bottom - in.top, across = in.right - in.left;
    const REAL *first = x + in.top * line + in.left * g->c;
    const double per = 1 / (double)(down * across);
    long c = 0;
    for (; c + V <= g->c; c += V) {
        double total[V];
        for (long i = 0; i < V; i++) total[i] = 0;
        for (long r = 0; r < down; r++) {
            S(vec) row = {0};
            for (long s = 0; s < across; s++) row += S(load)(first + r * line + s * g->c + c);
            for (long i = 0; i < V; i++) total[i] += (double)row[i];
        }
        for (long i = 0; i < V; i++) y[c + i] = (REAL)(total[i] * per);
    }
    for (; c < g->c; c++) {
        double total = 0;
        for (long r = 0; r < down; r++)
            for (long s = 0; s < across; s++) total += (double)first[r * line + s * g->c + c];
        y[c] = (REAL)(total * per);
    }
}

int K(sum)(const void *x, void *y, long a, long b, long c);

/* global average pooling */
static int S(mean_image)(const REAL *x, REAL *y, const struct dl_pool *g) {
    const REAL per = (REAL)1 / (REAL)(g->h * g->w);
    const int status = K(sum)(x, y, g->n, g->h * g->w, g->c);
    for (long i = 0; i < g->n * g->c; i++) y[i] *= per;
    return status;
}

int K(adaptive_avg_pool2d_forward)(const void *x_, void *y_, const struct dl_pool *g) {
    const REAL *x = x_;
    REAL *y = y_;
    const long image = g->h * g->w * g->c, boxes = g->oh * g->ow;
    if (boxes * g->n == 0) return DL_OK;
    if (boxes == 1 && image > 16384) return S(mean_image)(x, y, g); /* no longer in the L1 cache */
    DL_SPLIT(g->n * boxes, 1, g->n * image, for (long i = lo; i < hi; i++) {
        const long oh = i % boxes / g->ow, ow = i % g->ow;
        const struct S(window) in = {S(begin)(oh, g->h, g->oh), S(end)(oh, g->h, g->oh),
                                     S(begin)(ow, g->w, g->ow), S(end)(ow, g->w, g->ow)};
        S(mean_box)(x + i / boxes * image, y + i * g->c, g, in);
    });
    return DL_OK;
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

#undef BY_CHANNELS
#endif
