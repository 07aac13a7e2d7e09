/* Between an image's pixels and the finest grid's cells. */
#include "blocks.h"

static long columns_in_image(const struct dl_grid *g, long column) { return dl_min(DL_LANES, g->w - column); }

void KERNEL(sums)(const struct dl_grid *g, const float *image, const unsigned char *hole, float *sums) {
    const long columns = g->stride - 2, rows = (g->h + DL_LANES - 1) / DL_LANES;
    DL_SPLIT(rows, 1, g->h * g->w, for (long I = lo; I < hi; I++) for (long J = 0; J < columns; J++) {
        const long bottom = dl_min((I + 1) * DL_LANES, g->h), many = columns_in_image(g, J * DL_LANES);
        float *sum = sums + (I * columns + J) * (g->channels + 1);
        for (long c = 0; c < g->channels; c++) {
            float by_lane[DL_LANES] = {0};
            for (long i = I * DL_LANES; i < bottom; i++) {
                const float *pixels = image + (i * g->w + J * DL_LANES) * g->channels + c;
                for (long lane = 0; lane < many; lane++) by_lane[lane] += pixels[lane * g->channels];
            }
            sum[c] = 0;
            for (long lane = 0; lane < DL_LANES; lane++) sum[c] += by_lane[lane];
        }
        long known = 0;
        for (long i = I * DL_LANES; i < bottom; i++)
            for (long lane = 0; lane < many; lane++) known += !hole[i * g->w + J * DL_LANES + lane];
        sum[g->channels] = known;
    });
}

void KERNEL(read)(const struct dl_grid *g, const float *image, float *p) {
    const long columns = g->stride - 2;
    DL_SPLIT(g->h, 1, g->h * columns, for (long i = lo; i < hi; i++) for (long J = 0; J < columns; J++) {
        const long stored = g->number[(i + DL_BORDER) * g->stride + J + 1];
        if (stored == 0) continue;
        const float *pixels = image + (i * g->w + J * DL_LANES) * g->channels;
        for (long c = 0; c < g->channels; c++)
            for (long lane = 0; lane < columns_in_image(g, J * DL_LANES); lane++)
                p[c * g->cells + stored + lane] = pixels[lane * g->channels + c];
    });
}

/* The body for each cell of the image: `pixel` is its address, `lane` its place in the block. */
#define EACH_PIXEL_OF_GROUP(g, image, ...)                                                           \
    EACH_BLOCK_OF_GROUP(g) {                                                                         \
        const long row = row_of(g, block), column = column_of(g, block);                             \
        for (long lane = 0; lane < columns_in_image(g, column * DL_LANES); lane++)                   \
            if ((g)->inside[block * DL_LANES + lane] != 0) {                                         \
                float *pixel = (image) + (row * (g)->w + column * DL_LANES + lane) * (g)->channels;  \
                __VA_ARGS__                                                                          \
            }                                                                                        \
    }

void KERNEL(set)(const struct dl_grid *g, const float *means, float *image) {
    EACH_GROUP(g, 4, EACH_PIXEL_OF_GROUP(g, image, {
        const float *mean = means + (row / DL_LANES * (g->stride - 2) + column) * g->channels;
        for (long c = 0; c < g->channels; c++) pixel[c] = mean[c];
    }));
}

void KERNEL(add)(const struct dl_grid *g, const float *u, float *image) {
    EACH_GROUP(g, 4, EACH_PIXEL_OF_GROUP(g, image, {
        for (long c = 0; c < g->channels; c++) pixel[c] += u[(block * g->channels + c) * DL_LANES + lane];
    }));
}
