/* Included once for each number type: REAL, TYPE, ID(name) = name_<type>.
 *
 * One "plan" is   y[n][i][j] = sum over taps (u, v):  x[n][i*stride_h + rows.offset + u*rows.step][j*stride_w + ...] w(u, v)
 *
 * with x = 0 outside the picture. Forward is one plan. The input gradient is a plan over dy with turned weights; at
 * stride s it is s*s of them, one for each remainder of the pixel's row and column by s, each with the taps that can
 * reach such a pixel and with stride 1. A plan runs over blocks of output rows: the input rows of a block are copied
 * once, with their zeros left and right (not above and below: there the taps are left out), unless there is nothing to
 * add; then for each panel of output channels and each row, the tiles. The S*C inputs behind one output pixel and
 * filter row are contiguous, so a segment of a tile is a whole filter row; a dilated or grouped one has a segment a tap.
 */
enum {
    ID(STRIP) = 192 * 1024 /* bytes of input rows in a block: with a panel of weights they should fit into L2 */
};

struct ID(taps) { /* along one axis: tap u reads input row i*stride + offset + u*step, and is filter row first + u*turn */
    ptrdiff_t n, offset, step, first, turn;
};

struct ID(plan) {
    struct ID(taps) rows, cols;
    ptrdiff_t N, H, W, C; /* x */
    ptrdiff_t out_h, out_w, stride_h, stride_w;
    ptrdiff_t groups, c, k;                       /* channels in and out of one group */
    ptrdiff_t repeat;                             /* lane: copies of each input channel in the strip */
    ptrdiff_t sum;                                /* lane: neighbouring output channels added up at the end */
    ptrdiff_t y_offset, y_image, y_row, y_pixel;
    int lane, transposed;                         /* depthwise; weights stand as [output][input] of the group */
    const REAL *w;
    ptrdiff_t w_row, w_col, w_group, w_ld;
    /* from here on: filled by plan_finish */
    int direct, merged, stencil;
    ptrdiff_t span, row_length, run, per_row;     /* columns and numbers of a strip row; segments per filter row */
    ptrdiff_t panels, panel_tasks, depth, block_rows, blocks, strip_rows, parts;
    ptrdiff_t *seg_a, *seg_b, *seg_b_last;
    REAL *packed;
};

struct ID(conv) {
    const struct ID(dl_kernels) * k;
    struct ID(plan) * plans;
    ptrdiff_t n_plans, next;
    const REAL *x, *bias;
    REAL *y, *scratch;
    size_t scratch_each;
    int activation;
};

struct ID(line) { /* an output row: its first input, its taps inside the picture, its place */
    const REAL *a;
    REAL *y;
    ptrdiff_t first, count;
};

/* Taps u0 ... u0+count-1 of `taps` at position `at` (already times stride, plus offset) lie in 0 ... size-1. */
static void ID(inside)(const struct ID(taps) * taps, ptrdiff_t at, ptrdiff_t size, ptrdiff_t *u0, ptrdiff_t *count) {
    ptrdiff_t from = at < 0 ? dl_ceil_div(-at, taps->step) : 0;
    ptrdiff_t to = at < size ? (size - 1 - at) / taps->step + 1 : 0;
    if (to > taps->n) to = taps->n;
    *u0 = from;
    *count = to > from ? to - from : 0;
}

/* Columns col0 ... col0+span-1 of one picture row, zeros outside 0 ... W-1; each channel `repeat` times. */
static void ID(strip_row)(REAL *to, const REAL *row, ptrdiff_t W, ptrdiff_t C, ptrdiff_t col0, ptrdiff_t span, ptrdiff_t repeat) {
    ptrdiff_t from = MIN(MAX(-col0, 0), span), end = MAX(MIN(W - col0, span), from), wide = C * repeat;
    memset(to, 0, (size_t)(from * wide) * sizeof(REAL));
    const REAL *inside = row + (col0 + from) * C;
    if (repeat == 1) memcpy(to + from * C, inside, (size_t)((end - from) * C) * sizeof(REAL));
    else
        for (ptrdiff_t i = 0; i < (end - from) * C; i++)
            for (ptrdiff_t m = 0; m < repeat; m++) to[from * wide + i * repeat + m] = inside[i];
    memset(to + end * wide, 0, (size_t)((span - end) * wide) * sizeof(REAL));
}

/* The shape of the work; does not touch memory. */
static void ID(plan_finish)(struct ID(plan) * p, const struct ID(dl_kernels) * k, int threads) {
    ptrdiff_t taps = p->rows.n * p->cols.n, wide = p->C * p->repeat;
    p->span = (p->out_w - 1) * p->stride_w + (p->cols.n > 0 ? (p->cols.n - 1) * p->cols.step + 1 : 1);
    p->direct = taps == 0 || (p->repeat == 1 && (p->lane || (p->cols.offset >= 0 && p->cols.offset + p->span <= p->W)));
    p->stencil = p->lane && p->direct && p->sum == 1 && p->rows.n == 3 && p->cols.n == 3 && p->rows.step == 1 && p->cols.step == 1 &&
                 p->stride_h == 1;
    p->row_length = p->direct ? p->W * p->C : p->span * wide;
    p->merged = p->lane || p->cols.n == 1 || (p->groups == 1 && p->cols.step == 1);
    p->per_row = p->merged ? 1 : p->cols.n;
    p->run = p->lane ? p->cols.n : p->merged ? p->cols.n * p->c : p->c;
    p->depth = taps * p->c;
    p->panels = dl_ceil_div(p->k, k->panel);
    p->panel_tasks = p->lane ? 0 : p->groups * p->panels;
    ptrdiff_t total = p->N * p->out_h, extent = MAX(p->rows.n - 1, 0) * p->rows.step + 1;
    ptrdiff_t budget = MAX(ID(STRIP) / (ptrdiff_t)sizeof(REAL) / MAX(p->row_length, 1), 1);
    ptrdiff_t image = MIN(p->H, (p->out_h - 1) * p->stride_h + extent); /* input rows under a whole image */
    ptrdiff_t rows = budget >= image ? budget / MAX(image, 1) * p->out_h : MAX((budget - extent) / p->stride_h + 1, 1);
    if (p->stencil) rows = dl_round_up(rows, DL_STENCIL_ROWS);
    ptrdiff_t blocks = dl_ceil_div(total, MAX(rows, 1));
    if (threads > 1) blocks = dl_round_up(MAX(blocks, 2 * threads), threads);
    p->block_rows = dl_ceil_div(total, MAX(MIN(blocks, total), 1));
    p->blocks = total > 0 ? dl_ceil_div(total, p->block_rows) : 0;
    p->parts = p->block_rows > 0 && p->out_h > 0 ? (p->block_rows - 1 + p->out_h - 1) / p->out_h + 1 : 1;
    p->strip_rows = p->direct ? 0 : MIN(p->block_rows * p->stride_h + p->parts * extent, p->parts * p->H);
}

static void ID(plan_segments)(struct ID(plan) * p, const struct ID(dl_kernels) * k) {
    ptrdiff_t last = dl_round_up(p->k - (p->panels - 1) * k->panel, k->vl), wide = p->direct ? p->C : p->C * p->repeat;
    for (ptrdiff_t s = 0; s < p->rows.n * p->per_row; s++) {
        p->seg_a[s] = s / p->per_row * p->rows.step * p->row_length + s % p->per_row * p->cols.step * wide;
        p->seg_b[s] = p->lane ? s * p->rows.turn * p->w_row : s * p->run * k->panel;
        p->seg_b_last[s] = p->lane ? p->seg_b[s] : s * p->run * last;
    }
}

static void ID(pack_panel)(const struct ID(plan) * p, const struct ID(dl_kernels) * k, ptrdiff_t task) {
    ptrdiff_t g = task / p->panels, o = task % p->panels * k->panel, columns = MIN(k->panel, p->k - o);
    ptrdiff_t width = dl_round_up(columns, k->vl);
    REAL *to = p->packed + (g * p->panels * k->panel + o) * p->depth;
    for (ptrdiff_t u = 0; u < p->rows.n; u++)
        for (ptrdiff_t v = 0; v < p->cols.n; v++, to += p->c * width) {
            const REAL *from = p->w + (p->rows.first + u * p->rows.turn) * p->w_row + (p->cols.first + v * p->cols.turn) * p->w_col +
                               g * p->w_group;
            k->pack(to, width, p->transposed ? from + o * p->w_ld : from + o, p->w_ld, p->c, columns, p->transposed);
        }
}

static void ID(pack_body)(void *arg, int id, int threads) {
    struct ID(conv) *q = arg;
    (void)id, (void)threads;
    for (ptrdiff_t task; (task = dl_next(&q->next)) >= 0;) {
        struct ID(plan) *p = q->plans;
        for (; p < q->plans + q->n_plans && task >= p->panel_tasks; p++) task -= p->panel_tasks;
        if (p == q->plans + q->n_plans) return;
        ID(pack_panel)(p, q->k, task);
    }
}

/* Points j0 ... j1-1 of n, at j*stride + offset, have all their taps inside 0 ... size-1. */
static void ID(interior)(const struct ID(taps) * taps, ptrdiff_t n, ptrdiff_t stride, ptrdiff_t size, ptrdiff_t *j0, ptrdiff_t *j1) {
    ptrdiff_t room = size - 1 - MAX(taps->n - 1, 0) * taps->step - taps->offset; /* the last point's distance may be this */
    *j0 = MIN(taps->offset < 0 ? dl_ceil_div(-taps->offset, stride) : 0, n);
    *j1 = MAX(room < 0 ? 0 : MIN(room / stride + 1, n), *j0);
}

/* An output row, depthwise. Read in place, points near the border go one by one, with the taps they have. */
static void ID(lane_row)(const struct ID(dl_kernels) * k, const struct ID(plan) * p, struct ID(dl_tile) * tile,
                         const struct ID(line) * line, REAL *y) {
    const REAL *b = p->w + (p->rows.first + line->first * p->rows.turn) * p->w_row + p->cols.first * p->w_col;
    tile->n_seg = line->count;
    tile->run = p->cols.n;
    ptrdiff_t j0 = 0, j1 = p->out_w, offset = p->direct ? p->cols.offset : 0;
    if (p->direct) ID(interior)(&p->cols, p->out_w, p->stride_w, p->W, &j0, &j1);
    tile->b = b;
    if (j1 > j0) k->depthwise(tile, line->a + j0 * tile->pix + offset * p->C, y + j0 * tile->y_pix, j1 - j0);
    for (ptrdiff_t j = 0; j < p->out_w; j++) {
        if (j == j0) j = j1;
        if (j == p->out_w) break;
        ptrdiff_t at = j * p->stride_w + offset, first;
        ID(inside)(&p->cols, at, p->W, &first, &tile->run);
        const REAL *a = tile->run > 0 ? line->a + (at + first * p->cols.step) * p->C : line->a;
        tile->b = b + first * tile->b_step;
        k->depthwise(tile, a, y + j * tile->y_pix, 1);
    }
}

/* Rows lo ... hi-1 of the outputs, 3x3 depthwise: together as many as the tile takes and the image has; rows of zeros stand
 * above and below it. */
static void ID(stencil_block)(const struct ID(conv) * q, const struct ID(plan) * p, ptrdiff_t lo, ptrdiff_t hi, REAL *zeros) {
    struct ID(dl_stencil) job = {.w = p->w + p->rows.first * p->w_row + p->cols.first * p->w_col, .w_row = p->rows.turn * p->w_row,
                                 .w_col = p->cols.turn * p->w_col, .pix = p->stride_w * p->C, .y_pix = p->y_pixel, .y_row = p->y_row,
                                 .columns = p->C, .bias = q->bias, .relu = q->activation == DL_RELU};
    memset(zeros, 0, (size_t)p->row_length * sizeof(REAL));
    ptrdiff_t j0, j1, height;
    ID(interior)(&p->cols, p->out_w, p->stride_w, p->W, &j0, &j1);
    for (ptrdiff_t row = lo; row < hi; row += height) {
        ptrdiff_t n = row / p->out_h, i = row % p->out_h;
        height = MIN(MIN(hi - row, p->out_h - i), DL_STENCIL_ROWS);
        const REAL *x[DL_STENCIL_ROWS + 2], *at[DL_STENCIL_ROWS + 2];
        for (ptrdiff_t r = 0; r < height + 2; r++) {
            ptrdiff_t h = i + p->rows.offset + r;
            x[r] = h >= 0 && h < p->H ? q->x + (n * p->H + h) * p->row_length : zeros;
        }
        REAL *y = q->y + p->y_offset + n * p->y_image + i * p->y_row;
        for (ptrdiff_t j = 0, points; j < p->out_w; j += points) {
            points = j == j0 && j1 > j0 ? j1 - j0 : 1;
            ptrdiff_t first, count, left = j * p->stride_w + p->cols.offset;
            ID(inside)(&p->cols, left, p->W, &first, &count);
            if (count == 0) first = 0, left = 0;
            for (ptrdiff_t r = 0; r < height + 2; r++) at[r] = x[r] + left * p->C;
            q->k->depthwise_3x3(&job, at, y + j * p->y_pixel, height, points, (int)first, (int)(first + count));
        }
    }
}

static void ID(plan_block)(const struct ID(conv) * q, const struct ID(plan) * p, ptrdiff_t block, REAL *scratch) {
    const struct ID(dl_kernels) *k = q->k;
    ptrdiff_t lo = block * p->block_rows, hi = MIN(lo + p->block_rows, p->N * p->out_h);
    if (p->stencil) {
        ID(stencil_block)(q, p, lo, hi, scratch);
        if (q->activation == DL_TANH || q->activation == DL_SIGMOID) k->activate(q->y + lo * p->y_row, (hi - lo) * p->y_row, q->activation);
        return;
    }
    struct ID(line) *lines = (struct ID(line) *)scratch;
    REAL *strip = (REAL *)(lines + p->block_rows);
    REAL *sums = strip + p->strip_rows * p->row_length;
    ptrdiff_t copied_image = -1, copied_to = 0; /* rows below it of that image are in the strip */
    ptrdiff_t in_strip = 0, base = 0;           /* row r of that image is strip row base + r */
    ptrdiff_t n = lo / p->out_h, i = lo % p->out_h;
    for (ptrdiff_t row = lo; row < hi; row++) {
        struct ID(line) *line = &lines[row - lo];
        ptrdiff_t at = i * p->stride_h + p->rows.offset;
        line->y = q->y + p->y_offset + n * p->y_image + i * p->y_row;
        line->first = line->count = 0;
        line->a = q->x;
        if (p->cols.n > 0 && p->rows.n > 0) ID(inside)(&p->rows, at, p->H, &line->first, &line->count);
        if (line->count > 0) {
            ptrdiff_t from = at + line->first * p->rows.step, to = from + (line->count - 1) * p->rows.step + 1;
            if (p->direct) line->a = q->x + ((n * p->H + from) * p->W + (p->lane ? 0 : p->cols.offset)) * p->C;
            else {
                ptrdiff_t start = MAX(at, 0); /* not `from`: the next row may begin above it */
                if (copied_image != n || copied_to < start) {
                    copied_image = n;
                    copied_to = start;
                    base = in_strip - start;
                }
                for (; copied_to < to; copied_to++, in_strip++)
                    ID(strip_row)(strip + in_strip * p->row_length, q->x + (n * p->H + copied_to) * p->W * p->C, p->W, p->C,
                                  p->cols.offset, p->span, p->repeat);
                line->a = strip + (base + from) * p->row_length;
            }
        }
        if (++i == p->out_h) i = 0, n++;
    }

    ptrdiff_t wide = p->direct ? p->C : p->C * p->repeat;
    struct ID(dl_tile) tile = {.run = p->run, .seg_a = p->seg_a, .seg_b = p->seg_b, .pix = p->stride_w * wide, .step = p->cols.step * wide,
                               .b_step = p->cols.turn * p->w_col, .y_pix = p->sum > 1 ? p->k : p->y_pixel,
                               .columns = p->k, .bias = q->bias, .relu = q->activation == DL_RELU};
    for (ptrdiff_t row = 0; row < hi - lo && p->lane && p->sum == 1; row++)
        ID(lane_row)(k, p, &tile, &lines[row], lines[row].y);
    for (ptrdiff_t row = 0; row < hi - lo && p->sum > 1; row++) {
        const struct ID(line) *line = &lines[row];
        ID(lane_row)(k, p, &tile, line, sums);
        for (ptrdiff_t j = 0; j < p->out_w; j++)
            for (ptrdiff_t c = 0; c < p->k / p->sum; c++) {
                REAL s = 0;
                for (ptrdiff_t m = 0; m < p->sum; m++) s += sums[j * p->k + c * p->sum + m];
                line->y[j * p->y_pixel + c] = s;
            }
    }
    for (ptrdiff_t task = 0; task < p->panel_tasks; task++) {
        ptrdiff_t g = task / p->panels, o = task % p->panels * k->panel;
        tile.columns = MIN(k->panel, p->k - o);
        tile.seg_b = tile.columns < k->panel ? p->seg_b_last : p->seg_b;
        tile.bias = q->bias ? q->bias + g * p->k + o : NULL;
        const REAL *b = p->packed + (g * p->panels * k->panel + o) * p->depth;
        ptrdiff_t tap_row = p->per_row * p->run * dl_round_up(tile.columns, k->vl);
        for (ptrdiff_t row = 0; row < hi - lo; row++) {
            const struct ID(line) *line = &lines[row];
            tile.n_seg = line->count * p->per_row;
            tile.b = b + line->first * tap_row;
            k->row(&tile, line->a + g * p->c, line->y + g * p->k + o, p->out_w);
        }
    }
    if (q->activation == DL_TANH || q->activation == DL_SIGMOID) /* only forward: its rows are contiguous */
        k->activate(q->y + lo * p->y_row, (hi - lo) * p->y_row, q->activation);
}

static void ID(conv_body)(void *arg, int id, int threads) {
    struct ID(conv) *q = arg;
    (void)threads;
    REAL *scratch = (REAL *)((char *)q->scratch + (size_t)id * q->scratch_each);
    for (ptrdiff_t task; (task = dl_next(&q->next)) >= 0;) {
        struct ID(plan) *p = q->plans;
        for (; p < q->plans + q->n_plans && task >= p->blocks; p++) task -= p->blocks;
        if (p == q->plans + q->n_plans) return;
        ID(plan_block)(q, p, task, scratch);
    }
}

static int ID(conv_run)(struct ID(conv) * q, ptrdiff_t channels_out, int threads, double multiply_adds) {
    const struct ID(dl_kernels) *k = q->k;
    size_t fixed = 0, packed = 0;
    q->scratch_each = 0;
    for (struct ID(plan) *p = q->plans; p < q->plans + q->n_plans; p++) {
        ID(plan_finish)(p, k, threads);
        fixed = dl_plus(fixed, dl_times(3 * sizeof(ptrdiff_t), (size_t)(p->rows.n * p->per_row)));
        if (!p->lane) packed = dl_plus(packed, dl_times((size_t)(p->groups * p->panels * k->panel), (size_t)p->depth));
        size_t each = dl_times((size_t)(p->stencil ? 1 : p->strip_rows), (size_t)p->row_length);
        if (p->sum > 1) each = dl_plus(each, dl_times((size_t)p->out_w, (size_t)p->k));
        each = dl_plus(dl_times(each, sizeof(REAL)), dl_times((size_t)p->block_rows, sizeof(struct ID(line))));
        q->scratch_each = MAX(q->scratch_each, each);
    }
    q->scratch_each = dl_plus(q->scratch_each, 192) / 64 * 64;
    size_t padded = q->bias ? (size_t)(channels_out + k->panel) * sizeof(REAL) : 0;
    packed = dl_times(packed, sizeof(REAL));
    size_t before = dl_plus(dl_plus(fixed, padded), 63) / 64 * 64;
    char *block = dl_workspace_take(dl_plus(dl_plus(before, packed), dl_plus(64, dl_times(q->scratch_each, (size_t)threads))));
    if (block == NULL) return -1;

    ptrdiff_t *segments = (ptrdiff_t *)block;
    REAL *panel = (REAL *)(block + before);
    for (struct ID(plan) *p = q->plans; p < q->plans + q->n_plans; p++) {
        ptrdiff_t n = p->rows.n * p->per_row;
        p->seg_a = segments;
        p->seg_b = segments + n;
        p->seg_b_last = segments + 2 * n;
        segments += 3 * n;
        p->packed = panel;
        if (!p->lane) panel += p->groups * p->panels * k->panel * p->depth;
        ID(plan_segments)(p, k);
    }
    if (q->bias) { /* whole vectors are read from it */
        REAL *bias = (REAL *)(block + fixed);
        memcpy(bias, q->bias, (size_t)channels_out * sizeof(REAL));
        memset(bias + channels_out, 0, (size_t)k->panel * sizeof(REAL));
        q->bias = bias;
    }
    q->scratch = (REAL *)(block + (before + packed + 63) / 64 * 64);
    q->next = 0;
    dl_parallel(packed > 128 * 1024 && multiply_adds > 1e6 ? threads : 1, ID(pack_body), q);
    q->next = 0;
    dl_parallel(threads, ID(conv_body), q);
    dl_workspace_give(block);
    return 0;
}

static int ID(is_lane)(const struct dl_conv2d *s) { return s->groups > 1 && s->groups == s->C; }

static double ID(conv_work)(const struct dl_conv2d *s) {
    return (double)s->N * (double)(s->OH * s->OW) * (double)(s->R * s->S) * (double)(s->C / s->groups) * (double)s->K;
}

static int ID(is_product)(const struct dl_conv2d *s) {
    return s->R == 1 && s->S == 1 && s->groups == 1 && s->stride_h == 1 && s->stride_w == 1 && s->OH == s->H && s->OW == s->W;
}

int ID(dl_conv2d_forward)(const struct dl_conv2d *s, const REAL *x, const REAL *w, const REAL *bias, REAL *y, int activation) {
    if (s->N * s->OH * s->OW * s->K == 0) return 0;
    if (ID(is_product)(s) && s->pad_top == 0 && s->pad_left == 0)
        return ID(dl_matmul)(x, w, bias, y, s->N * s->H * s->W, s->C, s->K, 0, 0, activation);
    const struct dl_winograd *f = dl_winograd_for(s, DL_FORWARD, sizeof(REAL));
    if (f) return dl_winograd_forward(s, f, (const float *)x, (const float *)w, (const float *)bias, (float *)y, activation);
    double work = ID(conv_work)(s);
    int lane = ID(is_lane)(s);
    struct ID(plan) plan = {
        .rows = {s->R, -s->pad_top, s->dil_h, 0, 1}, .cols = {s->S, -s->pad_left, s->dil_w, 0, 1},
        .N = s->N, .H = s->H, .W = s->W, .C = s->C, .out_h = s->OH, .out_w = s->OW, .stride_h = s->stride_h, .stride_w = s->stride_w,
        .groups = lane ? 1 : s->groups, .c = s->C / s->groups, .k = lane ? s->K : s->K / s->groups,
        .repeat = lane ? s->K / s->C : 1, .sum = 1,
        .y_image = s->OH * s->OW * s->K, .y_row = s->OW * s->K, .y_pixel = s->K, .lane = lane, .w = w,
        .w_row = s->S * (s->C / s->groups) * s->K, .w_col = s->C / s->groups * s->K, .w_group = s->K / s->groups, .w_ld = s->K,
    };
    struct ID(conv) q = {.k = &DL_PICK(dl_matrix_table)->TYPE, .plans = &plan, .n_plans = 1, .x = x, .bias = bias, .y = y,
                         .activation = activation};
    return ID(conv_run)(&q, s->K, dl_threads_for(work), work);
}

/* Taps of the input gradient's rows a, a + stride, ...: output row i*stride + a is reached by filter row r from row
 * i + (a + pad - r*dilation) / stride of dy, where that divides. Written with r descending, so that they ascend in dy. */
static struct ID(taps) ID(phase)(ptrdiff_t a, ptrdiff_t R, ptrdiff_t stride, ptrdiff_t pad, ptrdiff_t dilation) {
    struct ID(taps) taps = {0, 0, 1, 0, 0};
    ptrdiff_t gcd = stride;
    for (ptrdiff_t d = dilation; d > 0;) {
        ptrdiff_t rest = gcd % d;
        gcd = d;
        d = rest;
    }
    ptrdiff_t turn = stride / gcd;
    for (ptrdiff_t r = R - 1; r >= 0 && r >= R - turn; r--)
        if ((a + pad - r * dilation) % stride == 0)
            return (struct ID(taps)){r / turn + 1, (a + pad - r * dilation) / stride, dilation / gcd, r, -turn};
    return taps;
}

int ID(dl_conv2d_backward_input)(const struct dl_conv2d *s, const REAL *dy, const REAL *w, REAL *dx) {
    size_t size = (size_t)(s->N * s->H * s->W * s->C) * sizeof(REAL);
    if (size == 0) return 0;
    if (s->OH * s->OW * s->K == 0) {
        memset(dx, 0, size);
        return 0;
    }
    if (ID(is_product)(s) && s->pad_top == 0 && s->pad_left == 0)
        return ID(dl_matmul)(dy, w, NULL, dx, s->N * s->H * s->W, s->K, s->C, 0, 1, DL_NONE);
    const struct dl_winograd *f = dl_winograd_for(s, DL_BACKWARD_INPUT, sizeof(REAL));
    if (f) return dl_winograd_backward_input(s, f, (const float *)dy, (const float *)w, (float *)dx);
    double work = ID(conv_work)(s);
    int lane = ID(is_lane)(s);
    struct ID(plan) few[9], *plans = few;
    ptrdiff_t phases_h = MIN(s->stride_h, s->H), phases_w = MIN(s->stride_w, s->W);
    if (phases_h * phases_w > 9) plans = dl_workspace_take(dl_times(dl_times((size_t)phases_h, (size_t)phases_w), sizeof *plans));
    if (plans == NULL) return -1;
    for (ptrdiff_t a = 0; a < phases_h; a++)
        for (ptrdiff_t b = 0; b < phases_w; b++)
            plans[a * phases_w + b] = (struct ID(plan)){
                .rows = ID(phase)(a, s->R, s->stride_h, s->pad_top, s->dil_h),
                .cols = ID(phase)(b, s->S, s->stride_w, s->pad_left, s->dil_w),
                .N = s->N, .H = s->OH, .W = s->OW, .C = s->K, .out_h = dl_ceil_div(s->H - a, s->stride_h),
                .out_w = dl_ceil_div(s->W - b, s->stride_w), .stride_h = 1, .stride_w = 1,
                .groups = lane ? 1 : s->groups, .c = s->K / s->groups, .k = lane ? s->K : s->C / s->groups,
                .repeat = 1, .sum = lane ? s->K / s->C : 1,
                .y_offset = (a * s->W + b) * s->C, .y_image = s->H * s->W * s->C, .y_row = s->stride_h * s->W * s->C,
                .y_pixel = s->stride_w * s->C, .lane = lane, .transposed = 1, .w = w,
                .w_row = s->S * (s->C / s->groups) * s->K, .w_col = s->C / s->groups * s->K, .w_group = s->K / s->groups, .w_ld = s->K,
            };
    struct ID(conv) q = {.k = &DL_PICK(dl_matrix_table)->TYPE, .plans = plans, .n_plans = phases_h * phases_w, .x = dy, .y = dx};
    int failed = ID(conv_run)(&q, 0, dl_threads_for(work), work);
    if (plans != few) dl_workspace_give(plans);
    return failed;
}
