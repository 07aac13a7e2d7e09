/* The tiles, for one instruction set, in float and double. GCC vector extensions; the only intrinsics are masks. */
#include "dl_compiler.h"
#include "dl_matrix_kernels.h"

#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(DL_VECTORS_64)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

/* Panel width in vectors, and the tallest tile for one vector and for more: acc + b + one broadcast fit the registers. */
#if defined(DL_VECTORS_64)
#define VECTORS 2
#define POINTS_1 14
#define POINTS_V 14
#elif defined(__aarch64__)
#define VECTORS 4
#define POINTS_1 12
#define POINTS_V 6
#else
#define VECTORS 2
#define POINTS_1 12
#define POINTS_V 6
#endif
#define GROUP 7 /* points behind one pointer: their distances 1, 2, 3, 4, 5, 6 times pix want few registers */

enum { ROW, OUTER, LANE, LANE_PART }; /* _PART: the last vector of a and b is read only up to `columns` */

#define REAL float
#define INT int32_t
#define T f32
#define MANTISSA 23
#define EXP_TERMS 7
#define EXP_LIMIT 87.0f
#define ID(name) DL_PASTE(name, f32)
#include "tile.h"
#include "stencil.h"
#include "winograd.h"
#include "activation.h"
#undef REAL
#undef INT
#undef T
#undef MANTISSA
#undef EXP_TERMS
#undef EXP_LIMIT
#undef ID

#define REAL double
#define INT int64_t
#define T f64
#define MANTISSA 52
#define EXP_TERMS 13
#define EXP_LIMIT 708.0
#define ID(name) DL_PASTE(name, f64)
#include "tile.h"
#include "stencil.h"
#include "activation.h"

const struct dl_matrix_table DL_NAME(dl_matrix_table) = {
    .f32 = {.vl = VECTOR_BYTES / 4, .panel = VECTORS * VECTOR_BYTES / 4, .points = POINTS_V, .row = row_f32,
            .outer = outer_f32, .lane = lane_f32, .depthwise = depthwise_f32,
            .depthwise_3x3 = depthwise_3x3_f32, .pack = pack_f32, .activate = activate_f32},
    .f64 = {.vl = VECTOR_BYTES / 8, .panel = VECTORS * VECTOR_BYTES / 8, .points = POINTS_V, .row = row_f64,
            .outer = outer_f64, .lane = lane_f64, .depthwise = depthwise_f64,
            .depthwise_3x3 = depthwise_3x3_f64, .pack = pack_f64, .activate = activate_f64},
    .winograd_4 = WINOGRAD_ENTRY(4),
    .winograd_2 = WINOGRAD_ENTRY(2),
};
