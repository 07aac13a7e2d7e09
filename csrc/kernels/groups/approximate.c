/* A group's patches as the rows of a matrix, their mean taken off; what is left of it above the noise; and back into the image. */
#include <math.h>

#include "dl_threads.h"
#include "groups.h"

enum { MOST = (DL_PATCH * DL_PATCH * DL_MOST_CHANNELS + DL_LANES - 1) / DL_LANES * DL_LANES };

struct group {
    long n, length, padded; /* patches, numbers in one, and those in whole vectors: zeros */
    dl_place places[DL_SIMILAR];
    float patches[DL_SIMILAR][MOST], mean[MOST];
};

static void gather(const struct dl_groups *q, struct group *g) {
    const long line = q->size * q->channels;
    for (long k = 0; k < g->n; k++) {
        float *to = g->patches[k];
        const float *from = q->image + (g->places[k][0] * q->w + g->places[k][1]) * q->channels;
        for (long r = 0; r < q->size; r++, from += q->w * q->channels, to += line)
            for (long t = 0; t < line; t++) to[t] = from[t];
        for (long t = g->length; t < g->padded; t++) g->patches[k][t] = 0;
    }
    for (long t = 0; t < g->padded; t += DL_LANES) {
        lanes mean = {0};
        for (long k = 0; k < g->n; k++) mean += GET(lanes, g->patches[k] + t);
        mean /= (float)g->n;
        AT(lanes, g->mean + t) = mean;
        for (long k = 0; k < g->n; k++) AT(lanes, g->patches[k] + t) -= mean;
    }
}

/* A = patches patches^T, four products at a time */
static void products(const struct group *g, dl_row *A) {
    for (long a = 0; a < DL_SIMILAR; a++)
        for (long b = 0; b < DL_SIMILAR; b++) A[a][b] = 0;
    for (long a = 0; a < g->n; a++)
        for (long b = a / 4 * 4; b < g->n; b += 4) {
            lanes sum[4] = {{0}};
            const float *other[4];
            for (int i = 0; i < 4; i++) other[i] = g->patches[b + i < g->n ? b + i : a];
            for (long t = 0; t < g->padded; t += DL_LANES) {
                const lanes one = GET(lanes, g->patches[a] + t);
                UNROLL for (int i = 0; i < 4; i++) sum[i] += one * GET(lanes, other[i] + t);
            }
            for (int i = 0; i < 4 && b + i < g->n; i++) A[a][b + i] = A[b + i][a] = total(sum[i]);
        }
}

/* patches = mean + their projection on `rank` vectors */
static void project(struct group *g, long rank, const dl_row *vectors) {
    for (long t = 0; t < g->padded; t += DL_LANES) {
        lanes along[DL_SIMILAR];
        for (long c = 0; c < rank; c++) {
            lanes even = {0}, odd = {0};
            for (long k = 0; k + 1 < g->n; k += 2) {
                even += vectors[c][k] * GET(lanes, g->patches[k] + t);
                odd += vectors[c][k + 1] * GET(lanes, g->patches[k + 1] + t);
            }
            if (g->n % 2) even += vectors[c][g->n - 1] * GET(lanes, g->patches[g->n - 1] + t);
            along[c] = even + odd;
        }
        for (long k = 0; k < g->n; k++) {
            lanes sum = GET(lanes, g->mean + t);
            for (long c = 0; c < rank; c++) sum += vectors[c][k] * along[c];
            AT(lanes, g->patches[k] + t) = sum;
        }
    }
}

static void scatter(const struct dl_groups *q, const struct group *g, float weight, long top, float *sums, float *weights) {
    const long line = q->size * q->channels;
    for (long k = 0; k < g->n; k++)
        for (long r = 0; r < q->size; r++) {
            const long at = (g->places[k][0] + r - top) * q->w + g->places[k][1];
            const float *from = g->patches[k] + r * line;
            for (long t = 0; t < line; t++) sums[at * q->channels + t] += weight * from[t];
            for (long s = 0; s < q->size; s++) weights[at + s] += weight;
        }
}

static void band_of_groups(const struct dl_groups *q, long band) {
    struct group g = {.length = q->size * q->size * q->channels};
    g.padded = (g.length + DL_LANES - 1) / DL_LANES * DL_LANES;
    dl_row A[DL_SIMILAR], vectors[DL_SIMILAR];
    float *sums = q->sums + band * q->height * q->w * q->channels, *weights = q->weights + band * q->height * q->w;
    for (long i = band ? q->ends[band - 1] : 0; i < q->ends[band]; i++) {
        g.n = KERNEL(similar)(q->grey, q->h, q->w, q->size, q->leaders[i][0], q->leaders[i][1], g.places);
        gather(q, &g);
        products(&g, A);
        /* a matrix of noise alone has singular values up to about this (Marchenko & Pastur) */
        const float threshold = q->noise * (sqrtf(g.n) + sqrtf(g.length));
        const long rank = KERNEL(leading)(A, threshold * threshold, vectors);
        project(&g, rank, vectors);
        scatter(q, &g, 1 / (1 + (float)rank), q->tops[band], sums, weights); /* the simpler a group, the surer it is */
    }
}

struct work {
    const struct dl_groups *q;
    ptrdiff_t next;
};

static void bands_body(void *arg, int id, int threads) {
    struct work *work = arg;
    (void)id, (void)threads;
    for (ptrdiff_t band; (band = dl_next(&work->next)) < work->q->bands;) band_of_groups(work->q, band);
}

void KERNEL(approximate)(const struct dl_groups *q) {
    struct work work = {q, 0};
    dl_parallel(dl_max_threads(), bands_body, &work);
}
