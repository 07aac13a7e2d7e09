/* y = x * w for 3x3 filters at stride 1 by Winograd's minimal filtering F(m x m, 3 x 3): Lavin & Gray 2016.
 *
 *     V[p][tile][c] = B^T d B      U[p][c][k] = G g G^T      M[p][tile][k] = sum_c V[p][tile][c] U[p][c][k]      y = A^T M A
 *
 * The P products are the row tiles of dl_matrix_kernels.h. The input gradient is the same with dy for x and turned weights.
 * Two orders of work:
 *
 * by tiles    U of all weights first; then each task takes a group of tiles from x to y, V and one panel of M staying in L2
 *             while U passes by from L3.
 * by columns  where U is too large for L3: V of all tiles first; then each task takes a panel of output channels through
 *             many tiles, making the panel's U on the way, slice by slice of the input channels, and M staying in L2.
 */
#include "winograd.h"

enum {
    BLOCK_BYTES = 160 * 1024,   /* by tiles: V of a group */
    GROUP_MAX = 36,             /* tiles in it */
    WEIGHTS_BYTES = 8 << 20,    /* by columns from this size of U on */
    CHUNK_BYTES = 12 << 20,     /* by columns: V, more tiles go in chunks; */
    PANEL_BYTES = 192 * 1024,   /* M of a group; */
    FEW_TILES = 8,              /* tiles in a task that only transforms */
    DEPTH = 128,                /* channels in a sum that is kept in registers, by tiles */
    SLICE = 64                  /* channels whose U is made together; such a sum by columns */
};

struct filters { /* 3x3 matrices in the letters of the product: depth in, columns out */
    const float *w;
    ptrdiff_t tap, ld; /* distances of taps (negative: turned), of rows of a tap */
    int transposed;
};

struct forward {
    const struct dl_kernels_f32 *k;
    const struct dl_winograd *f;
    struct dl_squares in;
    struct filters filters;
    const float *bias;
    float *y, *u, *v, *scratch;
    ptrdiff_t OH, OW, K, planes, panels, tiles;
    ptrdiff_t groups, group;           /* groups of up to so many tiles; by columns: */
    ptrdiff_t first, count, chunk;     /* the present chunk's first tile and tiles, and how many at most */
    ptrdiff_t pixel, u_plane, u_panel, v_plane, v_slice, m_plane;
    size_t scratch_each;
    ptrdiff_t next;
    int activation;
};

/* The tile's part of one image row, from column `left` on. */
static void copy_row(const struct dl_squares *s, const float *row, ptrdiff_t left, float *to) {
    ptrdiff_t from = MIN(MAX(-left, 0), s->edge), end = MAX(MIN(s->W - left, s->edge), from);
    memset(to, 0, (size_t)(s->edge * s->wide) * sizeof *to);
    if (s->C == s->wide) memcpy(to + from * s->C, row + (left + from) * s->C, (size_t)((end - from) * s->C) * sizeof *to);
    else
        for (ptrdiff_t j = from; j < end; j++) memcpy(to + j * s->wide, row + (left + j) * s->C, (size_t)s->C * sizeof *to);
}

const float *dl_square(const struct dl_squares *s, ptrdiff_t t, float *patch, struct dl_plane *at) {
    ptrdiff_t j = t % s->columns, i = t / s->columns % s->rows, n = t / s->columns / s->rows;
    ptrdiff_t top = i * s->step + s->top, left = j * s->step + s->left;
    if (top >= 0 && left >= 0 && top + s->edge <= s->H && left + s->edge <= s->W && s->C == s->wide) {
        *at = (struct dl_plane){s->W * s->C, s->C};
        return s->x + ((n * s->H + top) * s->W + left) * s->C;
    }
    *at = (struct dl_plane){s->edge * s->wide, s->wide};
    for (ptrdiff_t r = 0; r < s->edge; r++) {
        float *to = patch + r * at->row;
        if (top + r >= 0 && top + r < s->H) copy_row(s, s->x + (n * s->H + top + r) * s->W * s->C, left, to);
        else memset(to, 0, (size_t)at->row * sizeof *to);
    }
    return patch;
}

/* U of `depth` channels from c0 on and of one panel: u[p*u_plane + c*width + k]. taps: 9 * depth * width numbers. */
static void weight_slice(const struct forward *q, ptrdiff_t panel, ptrdiff_t c0, ptrdiff_t depth, float *u, float *taps) {
    const struct filters *w = &q->filters;
    ptrdiff_t o = panel * q->k->panel, columns = MIN(q->k->panel, q->K - o), width = dl_round_up(columns, q->k->vl);
    const float *from = w->w + (w->transposed ? o * w->ld + c0 : c0 * w->ld + o);
    ptrdiff_t size = depth * width;
    const struct dl_plane at = {3 * size, size}, planes = {(q->f->m + 2) * q->u_plane, q->u_plane};
    for (ptrdiff_t tap = 0; tap < 9; tap++)
        q->k->pack(taps + tap * size, width, from + tap * w->tap, w->ld, depth, columns, w->transposed);
    q->f->weight(taps, &at, u, &planes, size);
}

/* V of `count` tiles from `tile` on: v[slice*v_slice + p*v_plane + t*pixel + c], c < pixel; by tiles there is one slice. */
static void input_tiles(const struct forward *q, ptrdiff_t tile, ptrdiff_t count, float *v, float *patch) {
    const struct dl_plane planes = {(q->f->m + 2) * q->v_plane, q->v_plane};
    struct dl_plane at;
    for (ptrdiff_t t = 0; t < count; t++) {
        const float *d = dl_square(&q->in, tile + t, patch, &at);
        float *to = v + t * q->pixel;
        for (ptrdiff_t c = 0; c < q->in.wide; c += q->pixel, to += q->v_slice)
            q->f->input(d + c, &at, to, &planes, MIN(q->pixel, q->in.wide - c));
    }
}

/* M [p][count][width] of one panel, from `depth` channels, whose V and U begin at v and u; added to M but for the first. */
static void multiply(const struct forward *q, const float *v, ptrdiff_t count, const float *u, ptrdiff_t width,
                     ptrdiff_t depth, int first, float *m) {
    const ptrdiff_t zero = 0;
    struct dl_tile_f32 tile = {.n_seg = 1, .run = depth, .seg_a = &zero, .seg_b = &zero, .pix = q->pixel, .y_pix = width,
                               .columns = width, .accumulate = !first};
    for (ptrdiff_t p = 0; p < q->planes; p++) {
        tile.b = u + p * q->u_plane;
        q->k->row(&tile, v + p * q->v_plane, m + p * q->m_plane, count);
    }
}

/* y of one panel of `count` tiles. Tiles that are not whole, and what only `activate` knows, go through `patch`. */
static void output_tiles(const struct forward *q, ptrdiff_t tile, ptrdiff_t count, ptrdiff_t panel, const float *m, float *patch) {
    ptrdiff_t edge = q->f->m, o = panel * q->k->panel, columns = MIN(q->k->panel, q->K - o), width = dl_round_up(columns, q->k->vl);
    const float *bias = q->bias ? q->bias + o : NULL;
    const struct dl_plane planes = {(edge + 2) * q->m_plane, q->m_plane}, at = {q->OW * q->K, q->K}, small = {edge * width, width};
    int special = q->activation == DL_TANH || q->activation == DL_SIGMOID, relu = q->activation == DL_RELU;
    for (ptrdiff_t t = tile; t < tile + count; t++, m += width) {
        ptrdiff_t j = t % q->in.columns * edge, i = t / q->in.columns % q->in.rows * edge, n = t / q->in.columns / q->in.rows;
        float *y = q->y + ((n * q->OH + i) * q->OW + j) * q->K + o;
        ptrdiff_t height = MIN(edge, q->OH - i), length = MIN(edge, q->OW - j);
        if (height == edge && length == edge && columns == width && !special) {
            q->f->output(m, &planes, y, &at, width, bias, relu);
            continue;
        }
        q->f->output(m, &planes, patch, &small, width, bias, relu);
        if (special) q->k->activate(patch, edge * edge * width, q->activation);
        for (ptrdiff_t r = 0; r < height; r++)
            for (ptrdiff_t s = 0; s < length; s++)
                memcpy(y + r * at.row + s * at.pixel, patch + r * small.row + s * small.pixel, (size_t)columns * sizeof *y);
    }
}

static ptrdiff_t panel_width(const struct forward *q, ptrdiff_t panel) {
    return dl_round_up(MIN(q->k->panel, q->K - panel * q->k->panel), q->k->vl);
}

static float *own_scratch(const struct forward *q, int id) { return (float *)((char *)q->scratch + (size_t)id * q->scratch_each); }

static void in_parallel(struct forward *q, int threads, void (*body)(void *, int, int)) {
    q->next = 0;
    dl_parallel(threads, body, q);
}

/* -- by tiles -- */

static void weights_body(void *arg, int id, int threads) {
    struct forward *q = arg;
    (void)threads;
    ptrdiff_t slices = dl_ceil_div(q->in.C, SLICE);
    for (ptrdiff_t task; (task = dl_next(&q->next)) < q->panels * slices;) {
        ptrdiff_t panel = task / slices, c0 = task % slices * SLICE;
        float *u = q->u + panel * q->u_panel + c0 * panel_width(q, panel);
        weight_slice(q, panel, c0, MIN(SLICE, q->in.C - c0), u, own_scratch(q, id));
    }
}

static void tiles_body(void *arg, int id, int threads) {
    struct forward *q = arg;
    (void)threads;
    float *patch = own_scratch(q, id), *m = patch + q->planes * MAX(q->in.wide, q->k->panel), *v = m + q->planes * q->m_plane;
    ptrdiff_t C = q->in.C, parts = dl_ceil_div(C, DEPTH);
    for (ptrdiff_t task; (task = dl_next(&q->next)) < q->groups;) {
        ptrdiff_t tile = q->tiles * task / q->groups, count = q->tiles * (task + 1) / q->groups - tile;
        input_tiles(q, tile, count, v, patch);
        for (ptrdiff_t panel = 0; panel < q->panels; panel++) {
            ptrdiff_t width = panel_width(q, panel);
            for (ptrdiff_t part = 0; part < parts; part++) {
                ptrdiff_t c0 = C * part / parts, depth = C * (part + 1) / parts - c0;
                multiply(q, v + c0, count, q->u + panel * q->u_panel + c0 * width, width, depth, c0 == 0, m);
            }
            output_tiles(q, tile, count, panel, m, patch);
        }
    }
}

static int by_tiles(struct forward *q, int threads) {
    ptrdiff_t P = q->planes, points = q->k->points, panel = q->k->panel;
    ptrdiff_t room = BLOCK_BYTES / (ptrdiff_t)sizeof(float) / (P * q->in.wide) / points * points;
    room = MIN(MAX(room, points), GROUP_MAX / points * points);
    q->groups = MAX(dl_ceil_div(q->tiles, room), MIN(dl_ceil_div(q->tiles, points), 2 * threads));
    q->group = dl_ceil_div(q->tiles, q->groups);
    q->pixel = q->in.wide;
    q->v_plane = dl_plane_distance(q->group * q->pixel);
    q->m_plane = dl_plane_distance(q->group * panel);
    q->u_plane = dl_plane_distance(q->in.C * panel);
    q->u_panel = P * q->u_plane;
    size_t patch = (size_t)(P * MAX(q->in.wide, panel)), taps = (size_t)(9 * SLICE * panel);
    q->scratch_each = dl_round_up(sizeof(float) * MAX(taps, patch + (size_t)(P * (q->m_plane + q->v_plane))), 64);
    size_t u = dl_times(sizeof(float), dl_times((size_t)q->panels, (size_t)q->u_panel));
    char *block = dl_workspace_take(dl_plus(u, dl_times(q->scratch_each, (size_t)threads)));
    if (block == NULL) return -1;
    q->u = (float *)block;
    q->scratch = (float *)(block + u);
    in_parallel(q, q->in.C * q->K > 1024 ? threads : 1, weights_body);
    in_parallel(q, threads, tiles_body);
    dl_workspace_give(block);
    return 0;
}

/* -- by columns -- */

static void input_body(void *arg, int id, int threads) {
    struct forward *q = arg;
    (void)threads;
    for (ptrdiff_t t; (t = FEW_TILES * dl_next(&q->next)) < q->count;)
        input_tiles(q, q->first + t, MIN(FEW_TILES, q->count - t), q->v + t * q->pixel, own_scratch(q, id));
}

static void columns_body(void *arg, int id, int threads) {
    struct forward *q = arg;
    (void)threads;
    float *taps = own_scratch(q, id), *m = taps + 9 * SLICE * q->k->panel, *u = m + q->planes * q->m_plane;
    for (ptrdiff_t task; (task = dl_next(&q->next)) < q->panels * q->groups;) {
        ptrdiff_t panel = task / q->groups, group = task % q->groups;
        ptrdiff_t tile = q->count * group / q->groups, count = q->count * (group + 1) / q->groups - tile;
        for (ptrdiff_t c0 = 0; c0 < q->in.C; c0 += SLICE) {
            ptrdiff_t depth = MIN(SLICE, q->in.C - c0);
            weight_slice(q, panel, c0, depth, u, taps);
            const float *v = q->v + c0 / SLICE * q->v_slice + tile * q->pixel;
            multiply(q, v, count, u, panel_width(q, panel), depth, c0 == 0, m);
        }
        output_tiles(q, q->first + tile, count, panel, m, taps);
    }
}

static int by_columns(struct forward *q, int threads) {
    ptrdiff_t P = q->planes, panel = q->k->panel, points = q->k->points, number = sizeof(float);
    q->chunk = MIN(q->tiles, MAX(CHUNK_BYTES / number / (P * q->in.wide), points));
    ptrdiff_t most = MAX(PANEL_BYTES / number / (P * panel) / points * points, points);
    q->group = dl_ceil_div(q->chunk, dl_ceil_div(q->chunk, most));
    q->u_plane = dl_plane_distance(SLICE * panel);
    q->m_plane = dl_plane_distance(q->group * panel);
    q->pixel = SLICE; /* the slices apart, so that what is read together lies together */
    q->v_plane = dl_plane_distance(q->chunk * q->pixel);
    q->v_slice = P * q->v_plane;
    ptrdiff_t multiplying = 9 * SLICE * panel + P * (q->m_plane + q->u_plane);
    q->scratch_each = dl_round_up(sizeof(float) * (size_t)MAX(multiplying, P * q->in.wide), 64);
    size_t v = dl_times(sizeof(float) * (size_t)q->v_slice, (size_t)dl_ceil_div(q->in.C, SLICE));
    char *block = dl_workspace_take(dl_plus(v, dl_times(q->scratch_each, (size_t)threads)));
    if (block == NULL) return -1;
    q->v = (float *)block;
    q->scratch = (float *)(block + v);
    for (q->first = 0; q->first < q->tiles; q->first += q->chunk) {
        q->count = MIN(q->chunk, q->tiles - q->first);
        q->groups = dl_ceil_div(q->count, q->group);
        in_parallel(q, threads, input_body);
        in_parallel(q, threads, columns_body);
    }
    dl_workspace_give(block);
    return 0;
}

static int run(struct forward *q, const float *bias, int threads) {
    float *padded = NULL;
    if (bias) { /* whole vectors are read from it */
        size_t size = sizeof(float) * (size_t)(q->panels * q->k->panel);
        padded = dl_workspace_take(size);
        if (padded == NULL) return -1;
        memset(padded, 0, size);
        q->bias = memcpy(padded, bias, (size_t)q->K * sizeof(float));
    }
    ptrdiff_t weights = q->planes * q->in.C * q->K * (ptrdiff_t)sizeof(float);
    int failed = weights > WEIGHTS_BYTES ? by_columns(q, threads) : by_tiles(q, threads);
    dl_workspace_give(padded);
    return failed;
}

static double work(const struct dl_conv2d *s) {
    return 4.0 * (double)s->N * (double)(s->OH * s->OW) * (double)s->C * (double)s->K;
}

static struct forward problem(const struct dl_winograd *f, const float *x, ptrdiff_t N, ptrdiff_t H, ptrdiff_t W, ptrdiff_t C,
                              ptrdiff_t top, ptrdiff_t left, float *y, ptrdiff_t OH, ptrdiff_t OW, ptrdiff_t K) {
    const struct dl_kernels_f32 *k = &DL_PICK(dl_matrix_table)->f32;
    struct forward q = {
        .k = k, .f = f, .y = y, .OH = OH, .OW = OW, .K = K, .planes = (f->m + 2) * (f->m + 2), .panels = dl_ceil_div(K, k->panel),
        .in = {.x = x, .H = H, .W = W, .C = C, .wide = dl_round_up(C, k->vl), .edge = f->m + 2, .step = f->m, .top = top, .left = left,
               .rows = dl_ceil_div(OH, f->m), .columns = dl_ceil_div(OW, f->m)}};
    q.tiles = N * q.in.rows * q.in.columns;
    return q;
}

int dl_winograd_forward(const struct dl_conv2d *s, const struct dl_winograd *f, const float *x, const float *w, const float *bias,
                        float *y, int activation) {
    struct forward q = problem(f, x, s->N, s->H, s->W, s->C, -s->pad_top, -s->pad_left, y, s->OH, s->OW, s->K);
    q.filters = (struct filters){w, s->C * s->K, s->K, 0};
    q.activation = activation;
    return run(&q, bias, dl_threads_for(work(s)));
}

int dl_winograd_backward_input(const struct dl_conv2d *s, const struct dl_winograd *f, const float *dy, const float *w, float *dx) {
    struct forward q = problem(f, dy, s->N, s->OH, s->OW, s->K, s->pad_top - 2, s->pad_left - 2, dx, s->H, s->W, s->C);
    q.filters = (struct filters){w + 8 * s->C * s->K, -s->C * s->K, s->K, 1};
    return run(&q, NULL, dl_threads_for(work(s)));
}

void dl_winograd_transform(int name, ptrdiff_t m, const float *from, float *to, ptrdiff_t channels) {
    const struct dl_matrix_table *table = DL_PICK(dl_matrix_table);
    const struct dl_winograd *f = m == 4 ? &table->winograd_4 : &table->winograd_2;
    const ptrdiff_t before[] = {m + 2, 3, m + 2, m, m + 2}, after[] = {m + 2, m + 2, m, m + 2, 3};
    const struct dl_plane at = {before[name] * channels, channels}, result = {after[name] * channels, channels};
    dl_transform *const plain[] = {f->input, f->weight, NULL, f->gradient, f->weight_gradient};
    if (plain[name]) plain[name](from, &at, to, &result, channels);
    else f->output(from, &at, to, &result, channels, NULL, 0);
}
