/* Included behind conv2d.h, once for each number type: the weight gradient.
 *
 * The pixels are cut into chunks, as many as the shape says (so that the sum does not depend on the threads), each
 * with its own sum; large weights have fewer chunks and are cut into columns instead.
 */
struct ID(gradient) {
    const struct ID(dl_kernels) * k;
    const struct dl_conv2d *s;
    const REAL *x, *dy;
    REAL *dw, *partial, *scratch;
    ptrdiff_t chunks, splits, panels, together, block_rows, strip_rows, panel_size, span, repeat, size, next;
    size_t scratch_each;
    int lane, direct;
};

/* One filter row, depthwise: points are its taps, the run goes along dy's row; near the border pixel by pixel. */
static void ID(lane_gradient)(const struct ID(gradient) * q, struct ID(dl_tile) tile, const REAL *a, REAL *y) {
    const struct dl_conv2d *s = q->s;
    const REAL *b = tile.b;
    const struct ID(taps) taps = {s->S, -s->pad_left, s->dil_w, 0, 1};
    ptrdiff_t j0 = 0, j1 = s->OW, points;
    if (q->direct) ID(interior)(&taps, s->OW, s->stride_w, s->W, &j0, &j1);
    tile.run = j1 - j0;
    tile.b = b + j0 * s->K;
    q->k->lane(&tile, a + j0 * tile.step, y, s->S);
    tile.accumulate = 1;
    tile.run = 1;
    for (ptrdiff_t j = 0; j < s->OW; j++) {
        if (j == j0) j = j1;
        if (j == s->OW) break;
        ptrdiff_t first;
        ID(inside)(&taps, j * s->stride_w - s->pad_left, s->W, &first, &points);
        tile.b = b + j * s->K;
        q->k->lane(&tile, a + j * tile.step + first * tile.pix, y + first * s->K, points);
    }
}

/* Panels panel ... end-1 of dy's rows lo ... hi-1. They are read together, a few pixels at a time: as dy lies in memory. */
static void ID(gradient_pack)(const struct ID(gradient) * q, REAL *to, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t panel, ptrdiff_t end) {
    const struct ID(dl_kernels) *k = q->k;
    ptrdiff_t K = q->s->K, kg = K / q->s->groups, pixels = (hi - lo) * q->s->OW, few = q->together > 1 ? 16 : pixels;
    for (ptrdiff_t t = 0; t < pixels; t += few)
        for (ptrdiff_t i = panel; i < end; i++) {
            ptrdiff_t o = i % q->panels * k->panel, columns = MIN(k->panel, kg - o), width = dl_round_up(columns, k->vl);
            k->pack(to + (i - panel) * (q->panel_size / q->together) + t * width, width,
                    q->dy + (lo * q->s->OW + t) * K + i / q->panels * kg + o, K, MIN(few, pixels - t), columns, 0);
        }
}

static void ID(gradient_block)(const struct ID(gradient) * q, ptrdiff_t lo, ptrdiff_t hi, ptrdiff_t panel0, ptrdiff_t panel1, REAL *dw,
                               int accumulate, char *scratch) {
    const struct ID(dl_kernels) *k = q->k;
    const struct dl_conv2d *s = q->s;
    ptrdiff_t *seg_a = (ptrdiff_t *)scratch, *seg_b = seg_a + q->block_rows, *origin = seg_b + q->block_rows;
    REAL *panel_copy = (REAL *)(origin + q->block_rows), *strip = panel_copy + q->panel_size;
    const REAL *base = q->direct ? q->x : strip;
    ptrdiff_t wide = q->direct ? s->C : s->C * q->repeat, row_length = q->direct ? s->W * s->C : q->span * wide;
    ptrdiff_t reach = (s->R - 1) * s->dil_h, copied_image = -1, copied_to = 0, in_strip = 0, at_row = 0;
    for (ptrdiff_t row = lo; row < hi; row++) {
        ptrdiff_t n = row / s->OH, at = row % s->OH * s->stride_h - s->pad_top;
        ptrdiff_t from = MAX(at, 0), to = MIN(at + reach + 1, s->H);
        if (q->direct) {
            origin[row - lo] = n * s->H * row_length - s->pad_left * s->C;
            continue;
        }
        if (from < to) {
            if (copied_image != n || copied_to < from) {
                copied_image = n;
                copied_to = from;
                at_row = in_strip - from;
            }
            for (; copied_to < to; copied_to++, in_strip++)
                ID(strip_row)(strip + in_strip * row_length, q->x + (n * s->H + copied_to) * s->W * s->C, s->W, s->C, -s->pad_left,
                              q->span, q->repeat);
        }
        origin[row - lo] = at_row * row_length;
    }
    ptrdiff_t cg = s->C / s->groups, kg = q->lane ? s->K : s->K / s->groups, groups = q->lane ? 1 : s->groups;
    int merged = !q->lane && groups == 1 && s->dil_w == 1;
    struct ID(dl_tile) tile = {.seg_a = seg_a, .seg_b = seg_b, .run = s->OW, .pix = s->dil_w * wide, .step = s->stride_w * wide,
                               .b_step = s->K, .y_pix = s->K, .accumulate = accumulate};
    for (ptrdiff_t panel = panel0; panel < panel1; panel++) {
        ptrdiff_t g = panel / q->panels, o = panel % q->panels * k->panel, row_b = s->OW * s->K;
        tile.columns = MIN(k->panel, kg - o);
        tile.b = q->dy + lo * row_b + g * kg + o;
        if (!q->lane) { /* the panel of dy, close together in L1 for all inputs */
            ptrdiff_t at = (panel - panel0) % q->together;
            if (at == 0) ID(gradient_pack)(q, panel_copy, lo, hi, panel, MIN(panel + q->together, panel1));
            row_b = s->OW * dl_round_up(tile.columns, k->vl);
            tile.b = panel_copy + at * (q->panel_size / q->together);
        }
        for (ptrdiff_t r = 0; r < s->R; r++) {
            tile.n_seg = 0;
            for (ptrdiff_t row = lo; row < hi; row++) {
                ptrdiff_t at = row % s->OH * s->stride_h - s->pad_top + r * s->dil_h;
                if (at < 0 || at >= s->H) continue;
                seg_a[tile.n_seg] = origin[row - lo] + at * row_length;
                seg_b[tile.n_seg++] = (row - lo) * row_b;
            }
            REAL *y = dw + r * s->S * cg * s->K + g * kg + o;
            if (q->lane) ID(lane_gradient)(q, tile, base + o, y);
            else if (merged) k->outer(&tile, base, y, s->S * cg);
            else
                for (ptrdiff_t v = 0; v < s->S; v++) k->outer(&tile, base + v * s->dil_w * wide + g * cg, y + v * cg * s->K, cg);
        }
    }
}

static void ID(gradient_body)(void *arg, int id, int threads) {
    struct ID(gradient) *q = arg;
    (void)threads;
    char *scratch = (char *)q->scratch + (size_t)id * q->scratch_each;
    ptrdiff_t total = q->s->N * q->s->OH, panels = q->panels * (q->lane ? 1 : q->s->groups);
    for (ptrdiff_t task; (task = dl_next(&q->next)) < q->chunks * q->splits;) {
        ptrdiff_t chunk = task / q->splits, split = task % q->splits;
        ptrdiff_t lo = total * chunk / q->chunks, hi = total * (chunk + 1) / q->chunks;
        REAL *dw = chunk == 0 ? q->dw : q->partial + (chunk - 1) * q->size;
        for (ptrdiff_t row = lo; row < hi; row += q->block_rows)
            ID(gradient_block)(q, row, MIN(hi, row + q->block_rows), panels * split / q->splits, panels * (split + 1) / q->splits, dw,
                               row > lo, scratch);
    }
}

static void ID(gradient_sum)(void *arg, int id, int threads) {
    struct ID(gradient) *q = arg;
    ptrdiff_t lo = q->size * id / threads, hi = q->size * (id + 1) / threads;
    for (ptrdiff_t at = lo; at < hi; at += 1024)
        for (ptrdiff_t chunk = 0; chunk < q->chunks - 1; chunk++) {
            const REAL *from = q->partial + chunk * q->size;
            for (ptrdiff_t i = at; i < MIN(hi, at + 1024); i++) q->dw[i] += from[i];
        }
}

int ID(dl_conv2d_backward_weight)(const struct dl_conv2d *s, const REAL *x, const REAL *dy, REAL *dw) {
    enum { CHUNKS = 16, PIXELS = 256, PANELS = 4, PARTIAL_BYTES = 4 << 20, STRIP = 128 * 1024 };
    struct ID(gradient) q = {.k = &DL_PICK(dl_matrix_table)->TYPE, .s = s, .x = x, .dy = dy, .dw = dw, .lane = ID(is_lane)(s)};
    q.size = s->R * s->S * (s->C / s->groups) * s->K;
    ptrdiff_t total = s->N * s->OH;
    if (q.size == 0) return 0;
    if (total * s->OW == 0) {
        memset(dw, 0, (size_t)q.size * sizeof(REAL));
        return 0;
    }
    const struct dl_winograd *f = dl_winograd_for(s, DL_BACKWARD_WEIGHT, sizeof(REAL));
    if (f) return dl_winograd_backward_weight(s, f, (const float *)x, (const float *)dy, (float *)dw);
    int threads = dl_threads_for(ID(conv_work)(s));
    q.repeat = q.lane ? s->K / s->C : 1;
    q.span = (s->OW - 1) * s->stride_w + (s->S - 1) * s->dil_w + 1;
    q.direct = q.repeat == 1 && (q.lane || (s->pad_left == 0 && q.span <= s->W));
    q.panels = dl_ceil_div(q.lane ? s->K : s->K / s->groups, q.k->panel);
    ptrdiff_t all_panels = q.panels * (q.lane ? 1 : s->groups);
    q.chunks = MIN(MIN(CHUNKS, total), MAX(1, total * s->OW / (2 * PIXELS)));
    q.chunks = MIN(q.chunks, MAX(1, PARTIAL_BYTES / (ptrdiff_t)sizeof(REAL) / q.size));
    q.splits = MIN(all_panels, CHUNKS / q.chunks);

    ptrdiff_t row_length = q.span * s->C * q.repeat, extent = (s->R - 1) * s->dil_h + 1;
    ptrdiff_t budget = MAX(STRIP / (ptrdiff_t)sizeof(REAL) / MAX(row_length, 1), 1);
    q.block_rows = MIN(MAX((budget - extent) / s->stride_h + 1, 1), MAX(1, PIXELS / s->OW));
    ptrdiff_t parts = (q.block_rows - 1 + s->OH - 1) / s->OH + 1;
    q.strip_rows = q.direct ? 0 : MIN(q.block_rows * s->stride_h + parts * extent, parts * s->H);
    q.together = q.panels > 1 ? MIN(PANELS, all_panels) : 1;
    q.panel_size = q.lane ? 0 : q.together * q.block_rows * s->OW * q.k->panel;
    size_t each = dl_times(dl_plus(dl_times((size_t)q.strip_rows, (size_t)row_length), (size_t)q.panel_size), sizeof(REAL));
    each = dl_plus(each, (size_t)q.block_rows * 3 * sizeof(ptrdiff_t));
    q.scratch_each = dl_plus(each, 192) / 64 * 64;
    size_t partial = (size_t)(q.chunks - 1) * (size_t)q.size * sizeof(REAL);
    partial = (partial + 63) / 64 * 64;
    char *block = dl_workspace_take(dl_plus(partial, dl_times(q.scratch_each, (size_t)threads)));
    if (block == NULL) return -1;
    q.partial = (REAL *)block;
    q.scratch = (REAL *)(block + partial);
    dl_parallel((int)MIN(threads, q.chunks * q.splits), ID(gradient_body), &q);
    if (q.chunks > 1) dl_parallel(q.chunks * q.size > 65536 ? threads : 1, ID(gradient_sum), &q);
    dl_workspace_give(block);
    return 0;
}
