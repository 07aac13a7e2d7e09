#include "choose.h"
#include "internal.h"
#include "winograd.h"

#define PASTE2(a, b) a##_##b
#define PASTE(a, b) PASTE2(a, b)
#define ID(name) PASTE(name, TYPE)

#define REAL float
#define TYPE f32
#include "conv2d.h"
#include "conv2d_weight.h"
#undef REAL
#undef TYPE

#define REAL double
#define TYPE f64
#include "conv2d.h"
#include "conv2d_weight.h"

const char *dl_conv2d_algorithm(const struct dl_conv2d *s, int direction, size_t size_of_real) {
    enum dl_algorithm algorithm = dl_choose(s, (enum dl_direction)direction, size_of_real);
    if (algorithm != DL_DIRECT) return algorithm == DL_WINOGRAD ? "winograd" : "winograd2";
    if (is_lane_f32(s)) return "depthwise";
    return direction != DL_BACKWARD_WEIGHT && is_product_f32(s) && s->pad_top == 0 && s->pad_left == 0 ? "product" : "direct";
}
