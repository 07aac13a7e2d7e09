/* Included once for each number type: REAL, ID(name) = name_<type>.
 *
 * y [M][O] = activation(A B + bias). B is copied first, a strip of columns at a time, into panels: they are read by every
 * block of rows. Then tasks are blocks of rows: for each slice of KC of the inner dimension and each panel, the tiles run
 * down the rows, while the panel lies in L1 and the rows in L2. Where there is one block of rows only, tasks are blocks of
 * columns, and each copies its own panels. A is read in place, unless many panels share it: then its block is copied
 * first, because rows a power of two apart fall on each other in the cache.
 */
struct ID(product) {
    const struct ID(dl_kernels) * k;
    const REAL *a, *b, *bias;
    REAL *y, *panels, *scratch; /* panels: NULL where each task copies its own */
    ptrdiff_t M, I, O, lda, ldb, ldy, kc, mc, nc, row_blocks, strip, strip_end, copy_ld, next;
    size_t scratch_each;
    int ta, tb, activation, copy_a;
};

/* Columns o ... of slice i0 of B, `count` panels that lie one behind the other. */
static void ID(product_pack)(const struct ID(product) * q, REAL *to, ptrdiff_t i0, ptrdiff_t o0, ptrdiff_t o1) {
    enum { ROWS = 8 }; /* as many rows a power of two apart as L1 keeps until the next panel reads on in their lines */
    const struct ID(dl_kernels) *k = q->k;
    ptrdiff_t run = MIN(q->kc, q->I - i0), depth = q->tb ? run : ROWS;
    for (ptrdiff_t t = 0; t < run; t += depth)
        for (ptrdiff_t o = o0; o < o1; o += k->panel) {
            ptrdiff_t columns = MIN(k->panel, o1 - o), width = dl_round_up(columns, k->vl), i = i0 + t;
            k->pack(to + (o - o0) * run + t * width, width, q->tb ? q->b + o * q->ldb + i : q->b + i * q->ldb + o, q->ldb,
                    MIN(depth, run - t), columns, q->tb);
        }
}

/* The place of slice i0's panels in a strip of `columns` columns. */
static ptrdiff_t ID(product_slice)(const struct ID(product) * q, ptrdiff_t i0, ptrdiff_t columns) {
    return i0 * dl_round_up(columns, q->k->vl);
}

static void ID(product_pack_body)(void *arg, int id, int threads) {
    enum { PANELS = 8 };
    struct ID(product) *q = arg;
    (void)id, (void)threads;
    ptrdiff_t wide = PANELS * q->k->panel, groups = dl_ceil_div(q->strip_end - q->strip, wide);
    for (ptrdiff_t task; (task = dl_next(&q->next)) < dl_ceil_div(q->I, q->kc) * groups;) {
        ptrdiff_t i0 = task / groups * q->kc, o = task % groups * wide, run = MIN(q->kc, q->I - i0);
        REAL *slice = q->panels + ID(product_slice)(q, i0, q->strip_end - q->strip);
        ID(product_pack)(q, slice + o * run, i0, q->strip + o, MIN(q->strip + o + wide, q->strip_end));
    }
}

static void ID(product_block)(struct ID(product) * q, REAL *scratch, ptrdiff_t m0, ptrdiff_t m1, ptrdiff_t o0, ptrdiff_t o1) {
    const struct ID(dl_kernels) *k = q->k;
    const ptrdiff_t zero = 0, rows = m1 - m0;
    REAL *copy = scratch + (q->panels ? 0 : q->kc * k->panel);
    struct ID(dl_tile) tile = {.n_seg = 1, .seg_a = &zero, .seg_b = &zero, .y_pix = q->ldy};
    for (ptrdiff_t i0 = 0; i0 < MAX(q->I, 1); i0 += q->kc) {
        ptrdiff_t run = MIN(q->kc, q->I - i0);
        const REAL *a = q->ta ? q->a + i0 * q->lda + m0 : q->a + m0 * q->lda + i0;
        ptrdiff_t lda = q->lda;
        if (q->copy_a) {
            lda = q->copy_ld;
            if (q->ta) k->pack(copy, lda, a, q->lda, rows, run, 1);
            else k->pack(copy, lda, a, q->lda, rows, run, 0);
            a = copy;
        }
        tile.run = run;
        tile.pix = tile.step = lda; /* row takes the first, outer the second */
        tile.accumulate = i0 > 0;
        tile.relu = q->activation == DL_RELU && i0 + run >= q->I;
        const REAL *slice = q->panels ? q->panels + ID(product_slice)(q, i0, o1 - o0) : NULL;
        for (ptrdiff_t o = o0; o < o1; o += k->panel) {
            tile.columns = MIN(k->panel, o1 - o);
            tile.bias = q->bias && i0 == 0 ? q->bias + o : NULL;
            if (slice) tile.b = slice + (o - o0) * run;
            else {
                tile.b = scratch;
                ID(product_pack)(q, scratch, i0, o, o + tile.columns);
            }
            (q->ta && !q->copy_a ? k->outer : k->row)(&tile, a, q->y + m0 * q->ldy + o, rows);
        }
    }
    if (q->activation == DL_TANH || q->activation == DL_SIGMOID) {
        if (o0 == 0 && o1 == q->ldy) k->activate(q->y + m0 * q->ldy, rows * q->ldy, q->activation);
        else
            for (ptrdiff_t m = m0; m < m1; m++) k->activate(q->y + m * q->ldy + o0, o1 - o0, q->activation);
    }
}

static void ID(product_body)(void *arg, int id, int threads) {
    struct ID(product) *q = arg;
    (void)threads;
    REAL *scratch = q->scratch + (size_t)id * q->scratch_each;
    ptrdiff_t column_blocks = dl_ceil_div(q->strip_end - q->strip, q->nc);
    for (ptrdiff_t task; (task = dl_next(&q->next)) < q->row_blocks * column_blocks;) {
        ptrdiff_t m = task / column_blocks * q->mc, o = q->strip + task % column_blocks * q->nc;
        ID(product_block)(q, scratch, m, MIN(q->M, m + q->mc), o, MIN(q->strip_end, o + q->nc));
    }
}

int ID(dl_matmul)(const REAL *a, const REAL *b, const REAL *bias, REAL *y, ptrdiff_t M, ptrdiff_t I, ptrdiff_t O, int ta, int tb,
                  int activation) {
    enum { PANEL = 32 * 1024, KC = 512, MC = 96, STRIP = 8 << 20 }; /* bytes, numbers, rows, bytes */
    if (M == 0 || O == 0) return 0;
    const struct ID(dl_kernels) *k = &DL_PICK(dl_matrix_table)->TYPE;
    int threads = dl_threads_for((double)M * (double)I * (double)O);
    struct ID(product) q = {.k = k, .a = a, .b = b, .bias = bias, .y = y, .M = M, .I = I, .O = O, .lda = ta ? M : I,
                            .ldb = tb ? I : O, .ldy = O, .ta = ta, .tb = tb, .activation = activation};
    ptrdiff_t wide = k->panel * (ptrdiff_t)sizeof(REAL), most = MIN(KC, PANEL / wide);
    q.kc = I > 0 ? dl_ceil_div(I, dl_ceil_div(I, most)) : 1;
    ptrdiff_t blocks = M > 2 * MC ? dl_round_up(dl_ceil_div(M, MC), threads) : 1, panels = dl_ceil_div(O, k->panel);
    q.mc = dl_round_up(dl_ceil_div(M, blocks), k->points);
    q.row_blocks = dl_ceil_div(M, q.mc);
    ptrdiff_t strips = 1, splits = 1; /* of B's panels: copied one after the other; split over the threads */
    if (q.row_blocks > 1) strips = dl_ceil_div(panels, MAX(STRIP / wide / MAX(I, 1), 8));
    else splits = MIN(panels, threads);
    ptrdiff_t strip = dl_ceil_div(panels, strips) * k->panel;
    q.nc = dl_ceil_div(dl_ceil_div(panels, strips), splits) * k->panel;
    q.copy_a = MIN(q.nc, O) >= 8 * k->panel && M > k->points;
    ptrdiff_t line = 64 / (ptrdiff_t)sizeof(REAL);
    q.copy_ld = (dl_ceil_div(q.kc, line) | 1) * line; /* an odd number of cache lines */
    size_t packed = q.row_blocks > 1 ? dl_times((size_t)strip, (size_t)I) : 0;
    q.scratch_each = dl_round_up((size_t)((packed ? 0 : q.kc * k->panel) + (q.copy_a ? q.mc * q.copy_ld : 0)), 32);

    size_t padded = bias ? (size_t)(panels * k->panel) : 0, before = dl_round_up(dl_plus(padded, packed), 32);
    REAL *block = dl_workspace_take(dl_times(sizeof(REAL), before + (size_t)threads * q.scratch_each));
    if (block == NULL) return -1;
    if (bias) { /* whole vectors are read from it */
        memcpy(block, bias, (size_t)O * sizeof(REAL));
        memset(block + O, 0, (padded - (size_t)O) * sizeof(REAL));
        q.bias = block;
    }
    q.panels = packed ? block + padded : NULL;
    q.scratch = block + before;
    for (q.strip = 0; q.strip < O; q.strip += strip) {
        q.strip_end = MIN(q.strip + strip, O);
        q.next = 0;
        if (packed) dl_parallel(packed > 32 * 1024 ? threads : 1, ID(product_pack_body), &q);
        q.next = 0;
        dl_parallel((int)MIN(threads, q.row_blocks * splits), ID(product_body), &q);
    }
    dl_workspace_give(block);
    return 0;
}

struct ID(batch) {
    const REAL *a, *b;
    REAL *y;
    const ptrdiff_t *offset_a, *offset_b;
    ptrdiff_t count, M, I, O, next;
    int ta, tb, failed;
};

static void ID(batch_body)(void *arg, int id, int threads) {
    struct ID(batch) *q = arg;
    (void)id, (void)threads;
    for (ptrdiff_t i; (i = dl_next(&q->next)) < q->count;)
        if (ID(dl_matmul)(q->a + q->offset_a[i], q->b + q->offset_b[i], NULL, q->y + i * q->M * q->O, q->M, q->I, q->O, q->ta, q->tb,
                          DL_NONE))
            __atomic_store_n(&q->failed, 1, __ATOMIC_RELAXED);
}

int ID(dl_matmul_batch)(const REAL *a, const REAL *b, REAL *y, ptrdiff_t batch, const ptrdiff_t *offset_a, const ptrdiff_t *offset_b,
                        ptrdiff_t M, ptrdiff_t I, ptrdiff_t O, int ta, int tb) {
    struct ID(batch) q = {.a = a, .b = b, .y = y, .offset_a = offset_a, .offset_b = offset_b, .count = batch, .M = M, .I = I, .O = O,
                          .ta = ta, .tb = tb};
    int threads = dl_threads_for((double)batch * (double)M * (double)I * (double)O);
    dl_parallel(batch >= 2 * threads ? threads : 1, ID(batch_body), &q); /* inside a region a product has one thread */
    return q.failed ? -1 : 0;
}
