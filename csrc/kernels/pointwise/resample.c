/* Upsampling of images [n, h, w, c] to [n, oh, ow, c]. Backward gathers, row by row of the small image: no atomics, and
 * every sum has a fixed order. In both directions x is read and y written; h, w belong to the small image. */
#ifndef REAL
#define BODY "resample.c"
#include "twice.h"
#else

void K(upsample_nearest_forward)(const void *x_, void *y_, long n, long h, long w, long c, long oh, long ow, int corners) {
    const REAL *x = x_;
    REAL *y = y_;
    (void)corners;
    if (n * h * w * c == 0) return;
    const long down = oh / h, across = ow / w, line = ow * c;
    DL_SPLIT(n * h, 1, n * oh * line, for (long i = lo; i < hi; i++) {
        const REAL *restrict from = x + i * w * c;
        REAL *restrict to = y + i * down * line;
        REAL *restrict at = to;
        for (long p = 0; p < w; p++, from += c)
            for (long s = 0; s < across; s++, at += c)
                for (long j = 0; j < c; j++) at[j] = from[j];
        for (long r = 1; r < down; r++) memcpy(to + r * line, to, (size_t)line * sizeof(REAL));
    });
}

void K(upsample_nearest_backward)(const void *dy_, void *dx_, long n, long h, long w, long c, long oh, long ow, int corners) {
    const REAL *dy = dy_;
    REAL *dx = dx_;
    (void)corners;
    if (n * h * w * c == 0) return;
    const long down = oh / h, across = ow / w, line = ow * c;
    DL_SPLIT(n * h, 1, n * oh * line, for (long i = lo; i < hi; i++) {
        for (long p = 0; p < w; p++) {
            const REAL *restrict from = dy + i * down * line + p * across * c;
            REAL *restrict to = dx + (i * w + p) * c;
            if (down == 2 && across == 2) {
                for (long j = 0; j < c; j++) to[j] = (from[j] + from[c + j]) + (from[line + j] + from[line + c + j]);
                continue;
            }
            for (long j = 0; j < c; j++) to[j] = 0;
            for (long r = 0; r < down; r++)
                for (long s = 0; s < across; s++)
                    for (long j = 0; j < c; j++) to[j] += from[r * line + s * c + j];
        }
    });
}

/* Output pixel i lies between pixels low and high of the small image, a share `part` of the way. */
struct S(between) {
    long low, high;
    REAL part;
};

static void S(places)(struct S(between) * to, long size, long out, int align_corners) {
    for (long i = 0; i < out; i++) {
        double at = align_corners ? (out > 1 ? (double)i * (double)(size - 1) / (double)(out - 1) : 0)
                                  : ((double)i + 0.5) * (double)size / (double)out - 0.5;
        if (at < 0) at = 0;
        to[i].low = dl_min((long)at, size - 1);
        to[i].high = dl_min(to[i].low + 1, size - 1);
        to[i].part = (REAL)(at - (double)to[i].low);
    }
}

static void S(bilinear_row)(const REAL *restrict above, const REAL *restrict below, REAL part, REAL *restrict y,
                            const struct S(between) * across, long ow, long c) {
    for (long i = 0; i < ow; i++, y += c) {
        const REAL right = across[i].part, left = 1 - right, up = 1 - part;
        const long l = across[i].low * c, r = across[i].high * c;
        for (long j = 0; j < c; j++)
            y[j] = up * (left * above[l + j] + right * above[r + j]) + part * (left * below[l + j] + right * below[r + j]);
    }
}

int K(upsample_bilinear_forward)(const void *x_, void *y_, long n, long h, long w, long c, long oh, long ow, int corners) {
    const REAL *x = x_;
    REAL *y = y_;
    if (n * h * w * c * oh * ow == 0) return DL_OK;
    struct S(between) *down = malloc((size_t)(oh + ow) * sizeof *down), *across = down + oh;
    if (down == NULL) return DL_NO_MEMORY;
    S(places)(down, h, oh, corners);
    S(places)(across, w, ow, corners);
    DL_SPLIT(n * oh, 1, n * oh * ow * c, for (long i = lo; i < hi; i++) {
        const REAL *image = x + i / oh * h * w * c;
        const struct S(between) at = down[i % oh];
        S(bilinear_row)(image + at.low * w * c, image + at.high * w * c, at.part, y + i * ow * c, across, ow, c);
    });
    free(down);
    return DL_OK;
}

/* Row i of dx: the rows of dy that lean on it, weighted and added into `mixed` [ow, c], then the same across. */
static void S(bilinear_slopes)(const REAL *dy, REAL *restrict dx, REAL *restrict mixed, const struct S(between) * down,
                               const struct S(between) * across, long i, long w, long oh, long ow, long c, long guess) {
    const long line = ow * c;
    for (long j = 0; j < line; j++) mixed[j] = 0;
    for (long o = guess; o < oh && down[o].low <= i; o++) {
        const REAL weight = (down[o].low == i ? 1 - down[o].part : 0) + (down[o].high == i ? down[o].part : 0);
        const REAL *restrict from = dy + o * line;
        if (down[o].high < i) continue;
        for (long j = 0; j < line; j++) mixed[j] += weight * from[j];
    }
    for (long j = 0; j < w * c; j++) dx[j] = 0;
    for (long o = 0; o < ow; o++) {
        const REAL right = across[o].part, left = 1 - right;
        const REAL *restrict from = mixed + o * c;
        REAL *to = dx + across[o].low * c;
        for (long j = 0; j < c; j++) to[j] += left * from[j];
        to = dx + across[o].high * c;
        for (long j = 0; j < c; j++) to[j] += right * from[j];
    }
}

int K(upsample_bilinear_backward)(const void *dy_, void *dx_, long n, long h, long w, long c, long oh, long ow, int corners) {
    const REAL *dy = dy_;
    REAL *dx = dx_;
    int failed = 0;
    if (n * h * w * c == 0) return DL_OK;
    struct S(between) *down = malloc((size_t)(oh + ow + 1) * sizeof *down), *across = down + oh;
    long *first = malloc((size_t)h * sizeof(long)); /* the first row of dy that leans on row i */
    if (down == NULL || first == NULL) failed = 1;
    if (!failed) {
        S(places)(down, h, oh, corners);
        S(places)(across, w, ow, corners);
        for (long i = 0, o = 0; i < h; i++) {
            while (o < oh && down[o].high < i) o++;
            first[i] = o;
        }
        DL_SPLIT(n * h, 1, n * oh * ow * c, {
            REAL *mixed = malloc((size_t)(ow * c) * sizeof(REAL) + 1);
            if (mixed == NULL) {
                _Pragma("omp atomic write") failed = 1;
            } else {
                for (long i = lo; i < hi; i++)
                    S(bilinear_slopes)(dy + i / h * oh * ow * c, dx + i * w * c, mixed, down, across, i % h, w, oh, ow, c,
                                       first[i % h]);
            }
            free(mixed);
        });
    }
    free(down);
    free(first);
    return failed ? DL_NO_MEMORY : DL_OK;
}

#endif
