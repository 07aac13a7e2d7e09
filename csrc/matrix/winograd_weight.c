/* dw for 3x3 filters at stride 1 by Winograd: the transpose of w -> A^T [(G w G^T) (B^T d B)] A, summed over the tiles.
 *
 *     V[p][tile][c] = B^T d B      W[p][tile][k] = A dy A^T      dU[p][c][k] = sum_tile V[p][tile][c] W[p][tile][k]      dw = G^T dU G
 *
 * The sums over tiles are the outer tiles of dl_matrix_kernels.h. Two orders of work:
 *
 * by tiles   for few weights: each task sums up its share of the tiles in a dU of its own, V, W and dU staying in L2; then
 *            the dU are added up.
 * by planes  V and W of a chunk of tiles first; then each task takes one of the P planes, whose dU fits into L2. Weights
 *            whose dU would not fit into L3 go slab by slab of output channels.
 *
 * A sum is made of runs of tiles, each in registers, added up in order, and the shares depend on the shape only: the result
 * does not depend on the threads, and its error grows with the number of runs, not of pixels.
 */
#include "winograd.h"

enum {
    FEW_WEIGHTS = 32 * 32,    /* by tiles up to here */
    SHARES = 16,
    BLOCK_BYTES = 256 * 1024, /* V and W, by tiles */
    CHUNK_BYTES = 8 << 20,    /* V and W, by planes */
    SLAB_BYTES = 12 << 20,    /* dU, by planes */
    RUN = 64,                 /* tiles in a sum that is kept in registers */
    FEW_TILES = 8             /* tiles in a task of the transforms, by planes */
};

struct block { /* tiles whose V and W lie in memory together, and where their products go */
    float *v, *w, *du;
    ptrdiff_t first, count;
    int accumulate;
};

struct gradient {
    const struct dl_kernels_f32 *k;
    const struct dl_winograd *f;
    struct dl_squares in, out; /* x and dy */
    float *dw, *scratch;
    struct block now;                   /* by planes */
    ptrdiff_t C, K, planes, tiles, shares, splits;
    ptrdiff_t chunk, slab;              /* room for tiles in a block, for output channels in dU */
    ptrdiff_t column, columns, wide;    /* the slab: first output channel, how many, and with the zeros behind them */
    ptrdiff_t v_plane, w_plane, du_plane;
    size_t scratch_each;
    ptrdiff_t next;
    int new_input;
};

static float *own_scratch(const struct gradient *q, int id) { return (float *)((char *)q->scratch + (size_t)id * q->scratch_each); }

/* V and W of the block's tile t. W lies in panels: w[p*w_plane + panel*chunk + t*width]. */
static void transform_tile(const struct gradient *q, const struct block *b, ptrdiff_t t, float *patch) {
    ptrdiff_t edge = q->f->m + 2;
    struct dl_plane at, v = {edge * q->v_plane, q->v_plane}, w = {edge * q->w_plane, q->w_plane};
    if (q->new_input) {
        const float *d = dl_square(&q->in, b->first + t, patch, &at);
        q->f->input(d, &at, b->v + t * q->in.wide, &v, q->in.wide);
    }
    const float *dy = dl_square(&q->out, b->first + t, patch, &at) + q->column;
    for (ptrdiff_t o = 0; o < q->wide; o += q->k->panel) {
        ptrdiff_t width = MIN(q->k->panel, q->wide - o);
        q->f->gradient(dy + o, &at, b->w + o * q->chunk + t * width, &w, width);
    }
}

/* dU of plane p += the block's products, for panels panel0 ... panel1-1. */
static void multiply(const struct gradient *q, const struct block *b, ptrdiff_t p, ptrdiff_t panel0, ptrdiff_t panel1) {
    const ptrdiff_t zero = 0, runs = dl_ceil_div(b->count, RUN);
    struct dl_tile_f32 tile = {.n_seg = 1, .seg_a = &zero, .seg_b = &zero, .step = q->in.wide, .y_pix = q->slab};
    for (ptrdiff_t run = 0; run < runs; run++) {
        ptrdiff_t t = b->count * run / runs;
        tile.run = b->count * (run + 1) / runs - t;
        tile.accumulate = run > 0 || b->accumulate;
        for (ptrdiff_t panel = panel0; panel < panel1; panel++) {
            ptrdiff_t o = panel * q->k->panel;
            tile.columns = MIN(q->k->panel, q->wide - o);
            tile.b = b->w + p * q->w_plane + o * q->chunk + t * tile.columns;
            q->k->outer(&tile, b->v + p * q->v_plane + t * q->in.wide, b->du + p * q->du_plane + o, q->C);
        }
    }
}

/* dw of the slab from the dU of all shares. */
static void weights_body(void *arg, int id, int threads) {
    struct gradient *q = arg;
    (void)threads;
    float *row = own_scratch(q, id);
    ptrdiff_t edge = q->f->m + 2, tap = q->C * q->K, share = q->planes * q->du_plane;
    const struct dl_plane planes = {edge * q->du_plane, q->du_plane}, taps = {3 * tap, tap}, small = {3 * q->wide, q->wide};
    for (ptrdiff_t c; (c = dl_next(&q->next)) < q->C;) {
        float *du = q->now.du + c * q->slab, *dw = q->dw + c * q->K + q->column;
        for (ptrdiff_t s = 1; s < q->shares; s++)
            for (ptrdiff_t p = 0; p < q->planes; p++) {
                float *to = du + p * q->du_plane, *from = to + s * share;
                for (ptrdiff_t k = 0; k < q->wide; k++) to[k] += from[k];
            }
        if (q->wide == q->columns) {
            q->f->weight_gradient(du, &planes, dw, &taps, q->wide);
            continue;
        }
        q->f->weight_gradient(du, &planes, row, &small, q->wide);
        for (ptrdiff_t t = 0; t < 9; t++) memcpy(dw + t * tap, row + t * q->wide, (size_t)q->columns * sizeof *dw);
    }
}

static void in_parallel(struct gradient *q, int threads, void (*body)(void *, int, int)) {
    q->next = 0;
    dl_parallel(threads, body, q);
}

/* Distances between planes, and the size of one thread's patch. */
static void lay_out(struct gradient *q) {
    q->v_plane = dl_plane_distance(q->chunk * q->in.wide);
    q->w_plane = dl_plane_distance(q->chunk * q->slab);
    q->du_plane = dl_plane_distance(q->C * q->slab);
    size_t patch = (size_t)(q->planes * MAX(q->in.wide, q->out.wide));
    q->scratch_each = dl_round_up(sizeof(float) * MAX(patch, (size_t)(9 * q->slab)), 64);
}

/* -- by tiles -- */

static void shares_body(void *arg, int id, int threads) {
    struct gradient *q = arg;
    (void)threads;
    float *patch = own_scratch(q, id), *v = patch + q->planes * MAX(q->in.wide, q->out.wide), *w = v + q->planes * q->v_plane;
    ptrdiff_t panels = dl_ceil_div(q->wide, q->k->panel);
    for (ptrdiff_t share; (share = dl_next(&q->next)) < q->shares;) {
        ptrdiff_t begin = q->tiles * share / q->shares, end = q->tiles * (share + 1) / q->shares;
        struct block b = {v, w, q->now.du + share * q->planes * q->du_plane, begin, 0, 0};
        for (; b.first < end; b.first += b.count) {
            b.count = MIN(q->chunk, end - b.first);
            for (ptrdiff_t t = 0; t < b.count; t++) transform_tile(q, &b, t, patch);
            for (ptrdiff_t p = 0; p < q->planes; p++) multiply(q, &b, p, 0, panels);
            b.accumulate = 1;
        }
    }
}

static int by_tiles(struct gradient *q, int threads) {
    ptrdiff_t P = q->planes;
    q->slab = q->wide = q->out.wide;
    q->columns = q->K;
    q->chunk = MIN(MAX(BLOCK_BYTES / (ptrdiff_t)sizeof(float) / (P * (q->in.wide + q->slab)), 8), RUN);
    q->shares = MAX(MIN(SHARES, q->tiles / (2 * q->chunk)), 1);
    lay_out(q);
    size_t du = sizeof(float) * (size_t)(q->shares * P * q->du_plane);
    q->scratch_each += sizeof(float) * (size_t)(P * (q->v_plane + q->w_plane));
    char *block = dl_workspace_take(dl_plus(du, dl_times(q->scratch_each, (size_t)threads)));
    if (block == NULL) return -1;
    q->now.du = (float *)block;
    q->scratch = (float *)(block + du);
    in_parallel(q, (int)MIN(threads, q->shares), shares_body);
    in_parallel(q, threads, weights_body);
    dl_workspace_give(block);
    return 0;
}

/* -- by planes -- */

static void transform_body(void *arg, int id, int threads) {
    struct gradient *q = arg;
    (void)threads;
    for (ptrdiff_t t; (t = FEW_TILES * dl_next(&q->next)) < q->now.count;)
        for (ptrdiff_t end = MIN(t + FEW_TILES, q->now.count); t < end; t++) transform_tile(q, &q->now, t, own_scratch(q, id));
}

static void planes_body(void *arg, int id, int threads) {
    struct gradient *q = arg;
    (void)id, (void)threads;
    ptrdiff_t panels = dl_ceil_div(q->wide, q->k->panel);
    for (ptrdiff_t task; (task = dl_next(&q->next)) < q->planes * q->splits;) {
        ptrdiff_t p = task / q->splits, split = task % q->splits;
        multiply(q, &q->now, p, panels * split / q->splits, panels * (split + 1) / q->splits);
    }
}

static int by_planes(struct gradient *q, int threads) {
    ptrdiff_t P = q->planes, slabs = dl_ceil_div(P * q->C * q->out.wide * (ptrdiff_t)sizeof(float), SLAB_BYTES);
    q->slab = MIN(dl_round_up(dl_ceil_div(q->out.wide, slabs), q->k->panel), q->out.wide);
    q->chunk = MIN(MAX(CHUNK_BYTES / (ptrdiff_t)sizeof(float) / (P * (q->in.wide + q->slab)), RUN) / RUN * RUN, q->tiles);
    q->splits = MIN(dl_ceil_div(q->slab, q->k->panel), q->C * q->slab > 128 * 128 ? 4 : 1);
    lay_out(q);
    size_t fixed = dl_times(sizeof(float) * (size_t)P, (size_t)(q->v_plane + q->w_plane + q->du_plane));
    char *block = dl_workspace_take(dl_plus(fixed, dl_times(q->scratch_each, (size_t)threads)));
    if (block == NULL) return -1;
    q->shares = 1;
    q->now.v = (float *)block;
    q->now.w = q->now.v + P * q->v_plane;
    q->now.du = q->now.w + P * q->w_plane;
    q->scratch = (float *)(block + fixed);
    for (q->column = 0; q->column < q->K; q->column += q->slab) {
        q->columns = MIN(q->slab, q->K - q->column);
        q->wide = dl_round_up(q->columns, q->k->vl);
        for (q->now.first = 0; q->now.first < q->tiles; q->now.first += q->chunk) {
            q->now.count = MIN(q->chunk, q->tiles - q->now.first);
            q->now.accumulate = q->now.first > 0;
            q->new_input = q->column == 0 || q->chunk < q->tiles;
            in_parallel(q, threads, transform_body);
            in_parallel(q, threads, planes_body);
        }
        in_parallel(q, threads, weights_body);
    }
    dl_workspace_give(block);
    return 0;
}

int dl_winograd_backward_weight(const struct dl_conv2d *s, const struct dl_winograd *f, const float *x, const float *dy, float *dw) {
    const struct dl_kernels_f32 *k = &DL_PICK(dl_matrix_table)->f32;
    int threads = dl_threads_for(4.0 * (double)s->N * (double)(s->OH * s->OW) * (double)s->C * (double)s->K);
    ptrdiff_t rows = dl_ceil_div(s->OH, f->m), columns = dl_ceil_div(s->OW, f->m);
    struct gradient q = {
        .k = k, .f = f, .dw = dw, .C = s->C, .K = s->K, .planes = (f->m + 2) * (f->m + 2), .tiles = s->N * rows * columns, .new_input = 1,
        .in = {x, s->H, s->W, s->C, dl_round_up(s->C, k->vl), f->m + 2, f->m, -s->pad_top, -s->pad_left, rows, columns},
        .out = {dy, s->OH, s->OW, s->K, dl_round_up(s->K, k->vl), f->m, f->m, 0, 0, rows, columns}};
    return s->C * s->K <= FEW_WEIGHTS ? by_tiles(&q, threads) : by_planes(&q, threads);
}
