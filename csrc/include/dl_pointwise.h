/* The memory-bound kernels: everything that is not a matrix product.
 *
 * Each kernel exists for float ([0] in the table) and double ([1]); void pointers are arrays of that type, dense and in
 * row-major order. Outputs never overlap inputs, except that the in-place kernels at the end may be given the same
 * array twice. Sizes may be 0. Threads split the output or a number of partial sums that follows from the size alone,
 * so the result has the same bits whatever the number of threads. Meaning and layout: src/dlkit/backends/contract.py.
 * A kernel that returns int gives 0, or DL_NO_MEMORY, or DL_BAD_LABEL (then its outputs are unspecified).
 */
#ifndef DL_POINTWISE_H
#define DL_POINTWISE_H

#include <stdint.h>

enum { DL_OK = 0, DL_NO_MEMORY = 1, DL_BAD_LABEL = 2 };

/* How the two operands of a binary kernel lie: n elements each; the right or left one a number; or a row of c. */
enum dl_operands { DL_BOTH, DL_NUMBER_RIGHT, DL_NUMBER_LEFT, DL_ROW_RIGHT, DL_ROW_LEFT };

enum dl_norm_activation { DL_NORM_NONE, DL_NORM_RELU, DL_NORM_LEAKY_RELU, DL_NORM_RELU6 }; /* `below`: leaky ReLU's slope */

struct dl_pool { /* x [n, h, w, c], y [n, oh, ow, c], window [r, s] */
    long n, h, w, c, oh, ow, r, s, stride_h, stride_w, top, left;
};

enum { DL_AXES = 32 };

struct dl_box { /* the same box in two arrays, strides in elements; along the last axis both strides are 1 */
    long axes, size[DL_AXES], from[DL_AXES], to[DL_AXES];
};

struct dl_step { /* one parameter of n elements, its gradient, its state (velocity; square, velocity; m, v) or NULL */
    void *p;
    const void *g;
    void *state, *more;
    double decay;
    long n;
};

#define DL_UNARY (const void *x, void *y, double p, double q, long n)
#define DL_SLOPE (const void *dy, const void *xy, void *dx, double p, long n)
#define DL_BINARY (const void *a, const void *b, void *y, double number, long n, long c, enum dl_operands operands)
#define DL_ROWS (const void *x, void *y, long m, long k)
#define DL_ROWS_BACKWARD (const void *dy, const void *y, void *dx, long m, long k)
typedef void(*dl_unary) DL_UNARY;
typedef void(*dl_slope) DL_SLOPE;
typedef void(*dl_binary) DL_BINARY;
typedef void(*dl_rows) DL_ROWS;
typedef void(*dl_rows_backward) DL_ROWS_BACKWARD;
#define DL_RESAMPLE (const void *x, void *y, long n, long h, long w, long c, long oh, long ow, int align_corners)

#define DL_POINTWISE_KERNELS(K)                                                                                     \
    K(void, add, DL_BINARY) K(void, subtract, DL_BINARY) K(void, multiply, DL_BINARY) K(void, divide, DL_BINARY)    \
    K(void, maximum, DL_BINARY) K(void, minimum, DL_BINARY)                                                         \
    K(void, greater, DL_BINARY) K(void, greater_equal, DL_BINARY) K(void, equal, DL_BINARY) /* to uint8_t */           \
    K(void, where, (const uint8_t *mask, const void *a, const void *b, void *y, double number, long n)) /* one NULL */ \
    K(void, negative, DL_UNARY) K(void, exp, DL_UNARY) K(void, log, DL_UNARY) K(void, sqrt, DL_UNARY)               \
    K(void, abs, DL_UNARY)                                                                                          \
    K(void, clip, DL_UNARY) /* p low, q high */                                                                     \
    K(void, sigmoid, DL_UNARY) K(void, tanh, DL_UNARY) K(void, relu, DL_UNARY) K(void, gelu, DL_UNARY)              \
    K(void, silu, DL_UNARY) K(void, softplus, DL_UNARY)                                                             \
    K(void, leaky_relu, DL_UNARY) K(void, elu, DL_UNARY) /* p: slope, alpha */                                      \
    K(void, sigmoid_backward, DL_SLOPE) K(void, tanh_backward, DL_SLOPE) K(void, relu_backward, DL_SLOPE)           \
    K(void, leaky_relu_backward, DL_SLOPE) K(void, elu_backward, DL_SLOPE) K(void, gelu_backward, DL_SLOPE)         \
    K(void, silu_backward, DL_SLOPE) K(void, softplus_backward, DL_SLOPE)                                           \
    /* over the last axis: m rows of k */                                                                           \
    K(void, softmax, DL_ROWS) K(void, softmax_backward, DL_ROWS_BACKWARD)                                           \
    K(void, log_softmax, DL_ROWS) K(void, log_softmax_backward, DL_ROWS_BACKWARD)                                   \
    K(int, cross_entropy_forward, (const void *logits, const int64_t *labels, const void *weights,                  \
                                   double smoothing, void *loss, void *p, long m, long k))                          \
    K(int, cross_entropy_backward, (const void *dloss, const void *p, const int64_t *labels, const void *weights,   \
                                    double smoothing, void *dlogits, long m, long k))                               \
    K(int, sum, (const void *x, void *y, long a, long b, long c)) /* [a, b, c] -> [a, c] */                         \
    K(double, sum_of_squares, (const void *x, long n))                                                              \
    K(int, all_finite, (const void *x, long n))                                                                     \
    K(void, max_pool2d_forward, (const void *x, void *y, uint8_t *where, const struct dl_pool *g))                  \
    K(void, max_pool2d_backward, (const void *dy, const uint8_t *where, void *dx, const struct dl_pool *g))         \
    K(void, avg_pool2d_forward, (const void *x, void *y, const struct dl_pool *g))                                  \
    K(void, avg_pool2d_backward, (const void *dy, void *dx, const struct dl_pool *g))                               \
    /* of struct dl_pool only n, h, w, c, oh, ow are read */                                                        \
    K(int, adaptive_avg_pool2d_forward, (const void *x, void *y, const struct dl_pool *g))                          \
    K(void, fill, (void *y, double value, long n))                                                                  \
    K(void, copy_box, (const void *x, void *y, const struct dl_box *b))                                             \
    K(void, adaptive_avg_pool2d_backward, (const void *dy, void *dx, const struct dl_pool *g))                      \
    K(int, batch_norm_forward, (const void *x, const void *gamma, const void *beta, const void *residual,           \
                                double eps, enum dl_norm_activation act, double below, void *y, void *mean,         \
                                void *inv_std, long m, long c)) /* residual may be NULL */                          \
    /* y and dz both, or both NULL: then there was no residual */                                                   \
    K(int, batch_norm_backward, (const void *dy, const void *x, const void *y, const void *gamma, const void *beta, \
                                 const void *mean, const void *inv_std, enum dl_norm_activation act, double below,  \
                                 void *dx, void *dgamma, void *dbeta, void *dz, long m, long c))                    \
    K(int, batch_norm_inference, (const void *x, const void *gamma, const void *beta, const void *mean,             \
                                  const void *var, const void *residual, double eps, enum dl_norm_activation act,   \
                                  double below, void *y, long m, long c))                                           \
    K(void, upsample_nearest_forward, DL_RESAMPLE) K(void, upsample_nearest_backward, DL_RESAMPLE)                  \
    K(int, upsample_bilinear_forward, DL_RESAMPLE) K(int, upsample_bilinear_backward, DL_RESAMPLE)                  \
    /* in place */                                                                                                  \
    K(void, add_into, (void *x, const void *y, long n))                                                             \
    K(void, scale_into, (void *x, double factor, long n))                                                           \
    /* optimiser steps, in place, of `count` parameters; t = 1, 2, ... */                                           \
    K(void, sgd_step, (const struct dl_step *steps, long count, double lr, double momentum, int nesterov))          \
    K(void, rmsprop_step, (const struct dl_step *steps, long count, double lr, double rho, double eps,              \
                           double momentum))                                                                        \
    K(void, adam_step, (const struct dl_step *steps, long count, double lr, double beta1, double beta2, double eps, \
                        int decoupled, long t))

struct dl_pointwise {
#define DL_FIELD(result, name, arguments) result(*name[2]) arguments;
    DL_POINTWISE_KERNELS(DL_FIELD)
#undef DL_FIELD
};

const struct dl_pointwise *dl_pointwise_kernels(void); /* for the instruction set of dl_isa_choice() */

#endif
