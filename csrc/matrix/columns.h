/* Included once for each number type: REAL, ID(name) = name_<type>.
 *
 * The textbook way to convolve: im2col copies the inputs under every position of the filter into one row of a matrix, so
 * that y = im2col(x) w; col2im, its transpose, adds every row back to the inputs it came from. The matrix has R*S times
 * as many numbers as x: conv2d.h does without it. A task is a row of the result, which nobody else writes.
 */
struct ID(columns) {
    const struct dl_conv2d *s;
    const REAL *from;
    REAL *to;
    ptrdiff_t next;
};

static void ID(im2col_row)(const struct dl_conv2d *s, const REAL *x, REAL *to, ptrdiff_t i) {
    for (ptrdiff_t j = 0; j < s->OW; j++)
        for (ptrdiff_t r = 0; r < s->R; r++, to += s->S * s->C) {
            ptrdiff_t h = i * s->stride_h - s->pad_top + r * s->dil_h, at = j * s->stride_w - s->pad_left, first = 0, end = 0;
            if (h >= 0 && h < s->H) inside(s, at, &first, &end);
            memset(to, 0, (size_t)(first * s->C) * sizeof(REAL));
            memset(to + end * s->C, 0, (size_t)((s->S - end) * s->C) * sizeof(REAL));
            ptrdiff_t together = s->dil_w == 1 ? end - first : 1; /* neighbouring taps read neighbouring pixels */
            for (ptrdiff_t t = first; t < end; t += together)
                memcpy(to + t * s->C, x + (h * s->W + at + t * s->dil_w) * s->C, (size_t)(together * s->C) * sizeof(REAL));
        }
}

static void ID(col2im_row)(const struct dl_conv2d *s, const REAL *columns, REAL *to, ptrdiff_t h) {
    memset(to, 0, (size_t)(s->W * s->C) * sizeof(REAL));
    for (ptrdiff_t r = 0; r < s->R; r++) {
        ptrdiff_t i = reader(s, h, r);
        for (ptrdiff_t j = 0; j < s->OW && i >= 0; j++) {
            const REAL *from = columns + ((i * s->OW + j) * s->R + r) * s->S * s->C;
            ptrdiff_t at = j * s->stride_w - s->pad_left, first, end;
            inside(s, at, &first, &end);
            ptrdiff_t together = s->dil_w == 1 ? end - first : 1;
            for (ptrdiff_t t = first; t < end; t += together) {
                REAL *pixel = to + (at + t * s->dil_w) * s->C;
                for (ptrdiff_t c = 0; c < together * s->C; c++) pixel[c] += from[t * s->C + c];
            }
        }
    }
}

static void ID(im2col_body)(void *arg, int id, int threads) {
    struct ID(columns) *q = arg;
    const struct dl_conv2d *s = q->s;
    (void)id, (void)threads;
    for (ptrdiff_t row; (row = dl_next(&q->next)) < s->N * s->OH;)
        ID(im2col_row)(s, q->from + row / s->OH * s->H * s->W * s->C, q->to + row * s->OW * s->R * s->S * s->C, row % s->OH);
}

static void ID(col2im_body)(void *arg, int id, int threads) {
    struct ID(columns) *q = arg;
    const struct dl_conv2d *s = q->s;
    (void)id, (void)threads;
    for (ptrdiff_t row; (row = dl_next(&q->next)) < s->N * s->H;)
        ID(col2im_row)(s, q->from + row / s->H * s->OH * s->OW * s->R * s->S * s->C, q->to + row * s->W * s->C, row % s->H);
}

static int ID(columns_threads)(const struct dl_conv2d *s) {
    return dl_threads_for((double)(s->N * s->OH * s->OW) * (double)(s->R * s->S * s->C));
}

void ID(dl_im2col)(const struct dl_conv2d *s, const REAL *x, REAL *columns) {
    struct ID(columns) q = {.s = s, .from = x, .to = columns};
    dl_parallel(ID(columns_threads)(s), ID(im2col_body), &q);
}

void ID(dl_col2im)(const struct dl_conv2d *s, const REAL *columns, REAL *x) {
    struct ID(columns) q = {.s = s, .from = columns, .to = x};
    dl_parallel(ID(columns_threads)(s), ID(col2im_body), &q);
}
