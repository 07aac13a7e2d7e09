/* Included once for each number type: REAL, ID(name) = name_<type>.
 *
 * y [M][O] = activation(A B + bias). Tasks are blocks of rows, and of columns where the rows are few. In a task, for each
 * slice of KC of the inner dimension and each panel of columns: copy the panel of B (it then lies in L1 for all rows),
 * and run the tiles down the rows. A is read in place, unless many panels share it: then its block is copied first,
 * because rows a power of two apart fall on each other in the cache.
 */
struct ID(product) {
    const struct ID(dl_kernels) * k;
    const REAL *a, *b, *bias;
    REAL *y, *scratch;
    ptrdiff_t M, I, O, lda, ldb, ldy, kc, mc, nc, row_blocks, column_blocks, copy_ld, next;
    size_t scratch_each;
    int ta, tb, activation, copy_a;
};

static void ID(product_block)(struct ID(product) * q, REAL *scratch, ptrdiff_t m0, ptrdiff_t m1, ptrdiff_t o0, ptrdiff_t o1) {
    const struct ID(dl_kernels) *k = q->k;
    const ptrdiff_t zero = 0, rows = m1 - m0;
    REAL *panel = scratch, *copy = scratch + q->kc * k->panel;
    struct ID(dl_tile) tile = {.n_seg = 1, .seg_a = &zero, .seg_b = &zero, .b = panel, .y_pix = q->ldy};
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
        for (ptrdiff_t o = o0; o < o1; o += k->panel) {
            tile.columns = MIN(k->panel, o1 - o);
            tile.bias = q->bias && i0 == 0 ? q->bias + o : NULL;
            k->pack(panel, dl_round_up(tile.columns, k->vl), q->tb ? q->b + o * q->ldb + i0 : q->b + i0 * q->ldb + o, q->ldb, run, tile.columns, q->tb);
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
    for (ptrdiff_t task; (task = dl_next(&q->next)) < q->row_blocks * q->column_blocks;) {
        ptrdiff_t m = task / q->column_blocks * q->mc, o = task % q->column_blocks * q->nc;
        ID(product_block)(q, scratch, m, MIN(q->M, m + q->mc), o, MIN(q->O, o + q->nc));
    }
}

int ID(dl_matmul)(const REAL *a, const REAL *b, const REAL *bias, REAL *y, ptrdiff_t M, ptrdiff_t I, ptrdiff_t O, int ta, int tb,
                  int activation) {
    enum { KC = 256, MC = 192 };
    if (M == 0 || O == 0) return 0;
    const struct ID(dl_kernels) *k = &DL_PICK(dl_matrix_table)->TYPE;
    int threads = dl_threads_for((double)M * (double)I * (double)O);
    struct ID(product) q = {.k = k, .a = a, .b = b, .bias = bias, .y = y, .M = M, .I = I, .O = O, .lda = ta ? M : I,
                            .ldb = tb ? I : O, .ldy = O, .ta = ta, .tb = tb, .activation = activation};
    q.kc = I > 0 ? dl_ceil_div(I, dl_ceil_div(I, KC)) : 1;
    ptrdiff_t blocks = dl_ceil_div(M, MC), panels = dl_ceil_div(O, k->panel);
    if (blocks > 1) blocks = dl_round_up(blocks, threads);
    q.mc = dl_round_up(dl_ceil_div(M, blocks), k->points);
    q.row_blocks = dl_ceil_div(M, q.mc);
    ptrdiff_t split = q.row_blocks >= threads ? 1 : MIN(panels, dl_ceil_div(threads, q.row_blocks));
    q.nc = dl_ceil_div(panels, split) * k->panel;
    q.column_blocks = dl_ceil_div(O, q.nc);
    q.copy_a = MIN(q.nc, O) >= 8 * k->panel && M > k->points;
    ptrdiff_t line = 64 / (ptrdiff_t)sizeof(REAL);
    q.copy_ld = (dl_ceil_div(q.kc, line) | 1) * line; /* an odd number of cache lines */
    q.scratch_each = dl_round_up((size_t)(q.kc * k->panel + (q.copy_a ? q.mc * q.copy_ld : 0)), 32);

    size_t padded = bias ? (size_t)(panels * k->panel) : 0;
    REAL *block = dl_workspace_take(sizeof(REAL) * (padded + (size_t)threads * q.scratch_each));
    if (block == NULL) return -1;
    if (bias) { /* whole vectors are read from it */
        memcpy(block, bias, (size_t)O * sizeof(REAL));
        memset(block + O, 0, (padded - (size_t)O) * sizeof(REAL));
        q.bias = block;
    }
    q.scratch = block + padded;
    dl_parallel((int)MIN(threads, q.row_blocks * q.column_blocks), ID(product_body), &q);
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
