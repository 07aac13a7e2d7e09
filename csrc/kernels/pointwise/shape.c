/* Moving elements from one place to another: the rows of a box, wherever they lie. */
#ifndef REAL
#define BODY "shape.c"
#include "twice.h"
#else

static void S(fill_range)(REAL *y, REAL value, long n) {
    for (long i = 0; i < n; i++) y[i] = value;
}

void K(fill)(void *y, double value, long n) {
    DL_SPLIT(n, 64, n, S(fill_range)((REAL *)y + lo, (REAL)value, hi - lo));
}

static inline void S(copy_row)(const REAL *restrict x, REAL *restrict y, long n) {
    if (n >= 64) memcpy(y, x, (size_t)n * sizeof(REAL));
    else
        for (long i = 0; i < n; i++) y[i] = x[i];
}

/* rows lo..hi of the box, counted in the order of its axes */
static void S(copy_rows)(const REAL *x, REAL *y, const struct dl_box *b, long lo, long hi) {
    const long last = b->axes - 1, n = b->size[last];
    long index[DL_AXES], rest = lo;
    for (long a = last - 1; a >= 0; a--) {
        index[a] = rest % b->size[a];
        rest /= b->size[a];
        x += index[a] * b->from[a];
        y += index[a] * b->to[a];
    }
    for (long i = lo; i < hi; i++) {
        S(copy_row)(x, y, n);
        for (long a = last - 1; a >= 0; a--) {
            x += b->from[a];
            y += b->to[a];
            if (++index[a] < b->size[a]) break;
            x -= index[a] * b->from[a];
            y -= index[a] * b->to[a];
            index[a] = 0;
        }
    }
}

void K(copy_box)(const void *x, void *y, const struct dl_box *b) {
    long rows = 1;
    const long n = b->size[b->axes - 1];
    for (long a = 0; a < b->axes - 1; a++) rows *= b->size[a];
    if (rows == 1) /* one long row: cut it up */
        DL_SPLIT(n, 64, n, memcpy((REAL *)y + lo, (const REAL *)x + lo, (size_t)(hi - lo) * sizeof(REAL)));
    else
        DL_SPLIT(rows, 1, rows * n, S(copy_rows)(x, y, b, lo, hi));
}

#endif
