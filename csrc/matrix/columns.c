#include "internal.h"

#define PASTE2(a, b) a##_##b
#define PASTE(a, b) PASTE2(a, b)
#define ID(name) PASTE(name, TYPE)

/* The output row that reads input row h through filter row r, or -1. */
static ptrdiff_t reader(const struct dl_conv2d *s, ptrdiff_t h, ptrdiff_t r) {
    ptrdiff_t at = h + s->pad_top - r * s->dil_h;
    return at >= 0 && at % s->stride_h == 0 && at / s->stride_h < s->OH ? at / s->stride_h : -1;
}

/* Taps first ... end-1 of a filter row whose tap 0 stands at column `at` lie inside the picture. */
static void inside(const struct dl_conv2d *s, ptrdiff_t at, ptrdiff_t *first, ptrdiff_t *end) {
    *first = MIN(at < 0 ? dl_ceil_div(-at, s->dil_w) : 0, s->S);
    *end = MAX(at < s->W ? MIN((s->W - 1 - at) / s->dil_w + 1, s->S) : 0, *first);
}

#define REAL float
#define TYPE f32
#include "columns.h"
#undef REAL
#undef TYPE

#define REAL double
#define TYPE f64
#include "columns.h"
