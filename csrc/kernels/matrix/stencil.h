/* Included behind tile.h, once for each number type: depthwise convolution with a 3x3 filter.
 *
 * One point wide and several rows high. Walking along the channels and then along the row, it reads and writes memory in
 * the order in which it lies there, and each input is loaded from the cache once for three rows of output.
 */

/* Channels c ... of one point in Q rows; taps from <= v < to of each filter row; rest < VL: the last channels. */
INLINE void ID(stencil)(const struct DL_PASTE(dl_stencil, T) *j, const REAL *const *x, REAL *y, ptrdiff_t at, ptrdiff_t c, const int rest,
                        const int Q, const int from, const int to) {
    VEC acc[DL_STENCIL_ROWS];
    UNROLL for (int q = 0; q < Q; q++) acc[q] = (VEC){0};
    UNROLL for (int r = 0; r < Q + 2; r++)
        UNROLL for (int v = from; v < to; v++) {
            const REAL *from_x = x[r] + at + v * j->columns + c, *w = j->w + v * j->w_col + c;
            VEC a = rest < VL ? ID(load_part)(from_x, rest) : ID(load)(from_x);
            UNROLL for (int u = 2; u >= 0; u--) {
                const int q = r - u;
                if (q < 0 || q >= Q) continue;
                acc[q] += a * (rest < VL ? ID(load_part)(w + u * j->w_row, rest) : ID(load)(w + u * j->w_row));
            }
        }
    VEC shift = j->bias ? ID(load)(j->bias + c) : (VEC){0};
    UNROLL for (int q = 0; q < Q; q++) {
        VEC sum = acc[q] + shift;
        if (j->relu) sum = (VEC)((MASK)sum & ~(MASK)(sum <= (VEC){0})); /* NaN stays NaN */
        if (rest < VL) ID(store_part)(y + q * j->y_row + c, sum, rest);
        else ID(store)(y + q * j->y_row + c, sum);
    }
}

INLINE void ID(stencil_rows)(const struct DL_PASTE(dl_stencil, T) *j, const REAL *const *x, REAL *y, ptrdiff_t n, const int Q,
                             const int from, const int to) {
    for (ptrdiff_t p = 0; p < n; p++, y += j->y_pix) {
        ptrdiff_t c = 0;
        for (; c + VL <= j->columns; c += VL) ID(stencil)(j, x, y, p * j->pix, c, VL, Q, from, to);
        if (c < j->columns) ID(stencil)(j, x, y, p * j->pix, c, (int)(j->columns - c), Q, from, to);
    }
}

#define STENCIL(Q)                                                                                                     \
    if (from == 0 && to == 3) ID(stencil_rows)(j, x, y, n, Q, 0, 3);                                                   \
    else if (from == 1 && to == 3) ID(stencil_rows)(j, x, y, n, Q, 1, 3);                                              \
    else if (from == 0 && to == 2) ID(stencil_rows)(j, x, y, n, Q, 0, 2);                                              \
    else ID(stencil_rows)(j, x, y, n, Q, from, to);

static void ID(depthwise_3x3)(const struct DL_PASTE(dl_stencil, T) *given, const REAL *const *rows, REAL *y, ptrdiff_t height,
                              ptrdiff_t n, int from, int to) {
    const struct DL_PASTE(dl_stencil, T) copy = *given, *j = &copy; /* nobody else can write to it */
    const REAL *x[DL_STENCIL_ROWS + 2];
    for (ptrdiff_t r = 0; r < height + 2; r++) x[r] = rows[r];
    if (height == 4) {
        STENCIL(4)
    } else if (height == 3) {
        STENCIL(3)
    } else if (height == 2) {
        STENCIL(2)
    } else {
        STENCIL(1)
    }
}
#undef STENCIL
