/* dw for 3x3 filters at stride 1 by Winograd: the transpose of w -> A^T [(G w G^T) (B^T d B)] A, summed over the tiles.
 *
 *     V[p][tile][c] = B^T d B      W[p][tile][k] = A dy A^T      dU[p][c][k] = sum_tile V[p][tile][c] W[p][tile][k]      dw = G^T dU G
 *
 * The sums over tiles are the outer tiles of dl_matrix_kernels.h. V and W of a chunk of tiles are made first; then each
 * task takes one of the P planes, whose dU fits into L2. Weights whose dU would not fit into L3 go slab by slab of output
 * channels. A sum is made of runs of tiles, each in registers, added up in order: it does not depend on the threads, and
 * its error grows with the number of runs, not of pixels.
 */
#include "winograd.h"

#include <stdlib.h>
enum {
    CHUNK_BYTES = 8 << 20, /* V and W */
    SLAB_BYTES = 12 << 20,  /* dU */
    RUN = 64,              /* tiles in a sum that is kept in registers */
    FEW_TILES = 8          /* tiles in a task of the transforms */
};

struct gradient {
    const struct dl_kernels_f32 *k;
    const struct dl_winograd *f;
    struct dl_squares in, out; /* x and dy */
    float *dw, *v, *w, *du, *scratch;
    ptrdiff_t C, K, planes, tiles;
    ptrdiff_t chunk, first, slab, column, columns; /* tiles; output channels: in a slab, the first and how many now */
    ptrdiff_t v_plane, w_plane, du_plane, du_ld, splits;
    size_t scratch_each;
    ptrdiff_t next;
    int new_input;
};

static float *own_scratch(const struct gradient *q, int id) { return (float *)((char *)q->scratch + (size_t)id * q->scratch_each); }
static ptrdiff_t chunk_tiles(const struct gradient *q) { return MIN(q->chunk, q->tiles - q->first); }

/* V and W of tile first + t. W lies in panels: w[p*w_plane + panel*chunk + t*width]. */
static void transform_tile(const struct gradient *q, ptrdiff_t t, float *patch) {
    ptrdiff_t edge = q->f->m + 2, wide = dl_round_up(q->columns, q->k->vl);
    struct dl_plane at, v = {edge * q->v_plane, q->v_plane}, w = {edge * q->w_plane, q->w_plane};
    if (q->new_input) {
        const float *d = dl_square(&q->in, q->first + t, patch, &at);
        q->f->input(d, &at, q->v + t * q->in.wide, &v, q->in.wide);
    }
    const float *dy = dl_square(&q->out, q->first + t, patch, &at) + q->column;
    for (ptrdiff_t o = 0; o < wide; o += q->k->panel) {
        ptrdiff_t width = MIN(q->k->panel, wide - o);
        q->f->gradient(dy + o, &at, q->w + o * q->chunk + t * width, &w, width);
    }
}

static void transform_body(void *arg, int id, int threads) {
    struct gradient *q = arg;
    (void)threads;
    ptrdiff_t end = chunk_tiles(q);
    for (ptrdiff_t t; (t = FEW_TILES * dl_next(&q->next)) < end;)
        for (ptrdiff_t last = MIN(t + FEW_TILES, end); t < last; t++) transform_tile(q, t, own_scratch(q, id));
}

static void planes_body(void *arg, int id, int threads) {
    struct gradient *q = arg;
    (void)id, (void)threads;
    const ptrdiff_t zero = 0, tiles = chunk_tiles(q), wide = dl_round_up(q->columns, q->k->vl), panels = dl_ceil_div(wide, q->k->panel);
    const ptrdiff_t runs = dl_ceil_div(tiles, RUN);
    struct dl_tile_f32 tile = {.n_seg = 1, .seg_a = &zero, .seg_b = &zero, .step = q->in.wide, .y_pix = q->du_ld};
    for (ptrdiff_t task; (task = dl_next(&q->next)) < q->planes * q->splits;) {
        ptrdiff_t p = task / q->splits, split = task % q->splits;
        for (ptrdiff_t run = 0; run < runs; run++) {
            ptrdiff_t t = tiles * run / runs;
            tile.run = tiles * (run + 1) / runs - t;
            tile.accumulate = run > 0 || q->first > 0;
            for (ptrdiff_t panel = panels * split / q->splits; panel < panels * (split + 1) / q->splits; panel++) {
                ptrdiff_t o = panel * q->k->panel;
                tile.columns = MIN(q->k->panel, wide - o);
                tile.b = q->w + p * q->w_plane + o * q->chunk + t * tile.columns;
                q->k->outer(&tile, q->v + p * q->v_plane + t * q->in.wide, q->du + p * q->du_plane + o, q->C);
            }
        }
    }
}

static void weights_body(void *arg, int id, int threads) {
    struct gradient *q = arg;
    (void)threads;
    float *row = own_scratch(q, id);
    ptrdiff_t edge = q->f->m + 2, wide = dl_round_up(q->columns, q->k->vl), tap = q->C * q->K;
    const struct dl_plane planes = {edge * q->du_plane, q->du_plane}, taps = {3 * tap, tap}, small = {3 * wide, wide};
    for (ptrdiff_t c; (c = dl_next(&q->next)) < q->C;) {
        const float *du = q->du + c * q->du_ld;
        float *dw = q->dw + c * q->K + q->column;
        if (wide == q->columns) {
            q->f->weight_gradient(du, &planes, dw, &taps, wide);
            continue;
        }
        q->f->weight_gradient(du, &planes, row, &small, wide);
        for (ptrdiff_t t = 0; t < 9; t++) memcpy(dw + t * tap, row + t * wide, (size_t)q->columns * sizeof *dw);
    }
}

static void in_parallel(struct gradient *q, int threads, void (*body)(void *, int, int)) {
    q->next = 0;
    dl_parallel(threads, body, q);
}

int dl_winograd_backward_weight(const struct dl_conv2d *s, const struct dl_winograd *f, const float *x, const float *dy, float *dw) {
    const struct dl_kernels_f32 *k = &DL_PICK(dl_matrix_table)->f32;
    int threads = dl_threads_for(4.0 * (double)s->N * (double)(s->OH * s->OW) * (double)s->C * (double)s->K);
    ptrdiff_t P = (f->m + 2) * (f->m + 2), rows = dl_ceil_div(s->OH, f->m), columns = dl_ceil_div(s->OW, f->m);
    struct gradient q = {
        .k = k, .f = f, .dw = dw, .C = s->C, .K = s->K, .planes = P, .tiles = s->N * rows * columns,
        .in = {x, s->H, s->W, s->C, dl_round_up(s->C, k->vl), f->m + 2, f->m, -s->pad_top, -s->pad_left, rows, columns},
        .out = {dy, s->OH, s->OW, s->K, dl_round_up(s->K, k->vl), f->m, f->m, 0, 0, rows, columns}};
    ptrdiff_t slabs = dl_ceil_div(P * s->C * q.out.wide * (ptrdiff_t)sizeof(float), SLAB_BYTES);
    q.slab = dl_round_up(dl_ceil_div(q.out.wide, slabs), k->panel);
    ptrdiff_t slab_wide = MIN(q.slab, q.out.wide);
    int cb = getenv("WG_CHUNK") ? atoi(getenv("WG_CHUNK")) << 10 : CHUNK_BYTES;
    q.chunk = MAX(cb / (ptrdiff_t)sizeof(float) / (P * (q.in.wide + slab_wide)) / RUN * RUN, RUN);
    q.chunk = MIN(q.chunk, q.tiles);
    q.v_plane = dl_plane_distance(q.chunk * q.in.wide);
    q.w_plane = dl_plane_distance(q.chunk * slab_wide);
    q.du_ld = slab_wide;
    q.du_plane = dl_plane_distance(s->C * slab_wide);
    q.splits = MIN(dl_ceil_div(slab_wide, k->panel), s->C * slab_wide > 128 * 128 ? 4 : 1);
    size_t patch = (size_t)(P * MAX(q.in.wide, q.out.wide));
    q.scratch_each = dl_round_up(sizeof(float) * MAX(patch, (size_t)(9 * slab_wide)), 64);
    size_t fixed = dl_times(sizeof(float) * (size_t)P, dl_plus((size_t)q.v_plane, dl_plus((size_t)q.w_plane, (size_t)q.du_plane)));
    char *block = dl_workspace_take(dl_plus(fixed, dl_times(q.scratch_each, (size_t)threads)));
    if (block == NULL) return -1;
    q.v = (float *)block;
    q.w = q.v + P * q.v_plane;
    q.du = q.w + P * q.w_plane;
    q.scratch = (float *)(block + fixed);
    for (q.column = 0; q.column < s->K; q.column += q.slab) {
        q.columns = MIN(q.slab, s->K - q.column);
        for (q.first = 0; q.first < q.tiles; q.first += q.chunk) {
            q.new_input = q.column == 0 || q.chunk < q.tiles;
            in_parallel(&q, threads, transform_body);
            in_parallel(&q, threads, planes_body);
        }
        in_parallel(&q, threads, weights_body);
    }
    dl_workspace_give(block);
    return 0;
}
