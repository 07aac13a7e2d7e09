"""Repeats csrc/include/dl_pointwise.h for Cython; [0] is float, [1] double."""

from libc.stdint cimport int64_t, uint8_t

cdef extern from "dl_pointwise.h" nogil:
    enum:
        DL_NO_MEMORY
        DL_BAD_LABEL
    enum dl_operands:
        DL_BOTH
        DL_NUMBER_RIGHT
        DL_NUMBER_LEFT
        DL_ROW_RIGHT
        DL_ROW_LEFT
    enum dl_norm_activation:
        DL_NORM_NONE
        DL_NORM_RELU
        DL_NORM_LEAKY_RELU
        DL_NORM_RELU6
    enum:
        DL_AXES
    struct dl_box:
        long axes
        long size[DL_AXES]
        long from_ "from"[DL_AXES]
        long to[DL_AXES]
    struct dl_step:
        void *p
        const void *g
        void *state
        void *more
        double decay
        long n
    struct dl_pool:
        long n, h, w, c, oh, ow, r, s, stride_h, stride_w, top, left

    ctypedef void (*dl_unary)(const void *x, void *y, double p, double q, long n) noexcept nogil
    ctypedef void (*dl_slope)(const void *dy, const void *xy, void *dx, double p, long n) noexcept nogil
    ctypedef void (*dl_binary)(const void *a, const void *b, void *y, double number, long n, long c,
            dl_operands operands) noexcept nogil
    ctypedef void (*dl_rows)(const void *x, void *y, long m, long k) noexcept nogil
    ctypedef void (*dl_rows_backward)(const void *dy, const void *y, void *dx, long m, long k) noexcept nogil

    struct dl_pointwise:
        dl_binary add[2]
        dl_binary subtract[2]
        dl_binary multiply[2]
        dl_binary divide[2]
        dl_binary maximum[2]
        dl_binary minimum[2]
        dl_binary greater[2]
        dl_binary greater_equal[2]
        dl_binary equal[2]
        void (*where[2])(const uint8_t *mask, const void *a, const void *b, void *y, double number,
            long n) noexcept nogil
        dl_unary negative[2]
        dl_unary exp[2]
        dl_unary log[2]
        dl_unary sqrt[2]
        dl_unary abs[2]
        dl_unary clip[2]
        dl_unary sigmoid[2]
        dl_unary tanh[2]
        dl_unary relu[2]
        dl_unary gelu[2]
        dl_unary silu[2]
        dl_unary softplus[2]
        dl_unary leaky_relu[2]
        dl_unary elu[2]
        dl_slope sigmoid_backward[2]
        dl_slope tanh_backward[2]
        dl_slope relu_backward[2]
        dl_slope leaky_relu_backward[2]
        dl_slope elu_backward[2]
        dl_slope gelu_backward[2]
        dl_slope silu_backward[2]
        dl_slope softplus_backward[2]
        dl_rows softmax[2]
        dl_rows log_softmax[2]
        dl_rows_backward softmax_backward[2]
        dl_rows_backward log_softmax_backward[2]
        int (*cross_entropy_forward[2])(const void *logits, const int64_t *labels, const void *weights,
            double smoothing, void *loss, void *p, long m, long k) noexcept nogil
        int (*cross_entropy_backward[2])(const void *dloss, const void *p, const int64_t *labels,
            const void *weights, double smoothing, void *dlogits, long m, long k) noexcept nogil
        int (*sum[2])(const void *x, void *y, long a, long b, long c) noexcept nogil
        double (*sum_of_squares[2])(const void *x, long n) noexcept nogil
        int (*all_finite[2])(const void *x, long n) noexcept nogil
        void (*max_pool2d_forward[2])(const void *x, void *y, uint8_t *where, const dl_pool *g) noexcept nogil
        void (*max_pool2d_backward[2])(const void *dy, const uint8_t *where, void *dx, const dl_pool *g) noexcept nogil
        void (*avg_pool2d_forward[2])(const void *x, void *y, const dl_pool *g) noexcept nogil
        void (*avg_pool2d_backward[2])(const void *dy, void *dx, const dl_pool *g) noexcept nogil
        int (*adaptive_avg_pool2d_forward[2])(const void *x, void *y, const dl_pool *g) noexcept nogil
        void (*fill[2])(void *y, double value, long n) noexcept nogil
        void (*copy_box[2])(const void *x, void *y, const dl_box *b) noexcept nogil
        void (*adaptive_avg_pool2d_backward[2])(const void *dy, void *dx, const dl_pool *g) noexcept nogil
        int (*batch_norm_forward[2])(const void *x, const void *gamma, const void *beta, const void *residual,
            double eps, dl_norm_activation act, double below, void *y, void *mean, void *inv_std, long m,
            long c) noexcept nogil
        int (*batch_norm_backward[2])(const void *dy, const void *x, const void *y, const void *gamma,
            const void *beta, const void *mean, const void *inv_std, dl_norm_activation act, double below, void *dx,
            void *dgamma, void *dbeta, void *dz, long m, long c) noexcept nogil
        int (*batch_norm_inference[2])(const void *x, const void *gamma, const void *beta, const void *mean,
            const void *var, const void *residual, double eps, dl_norm_activation act, double below, void *y, long m,
            long c) noexcept nogil
        void (*upsample_nearest_forward[2])(const void *x, void *y, long n, long h, long w, long c, long oh,
            long ow, int align_corners) noexcept nogil
        void (*upsample_nearest_backward[2])(const void *x, void *y, long n, long h, long w, long c, long oh,
            long ow, int align_corners) noexcept nogil
        int (*upsample_bilinear_forward[2])(const void *x, void *y, long n, long h, long w, long c, long oh,
            long ow, int align_corners) noexcept nogil
        int (*upsample_bilinear_backward[2])(const void *x, void *y, long n, long h, long w, long c, long oh,
            long ow, int align_corners) noexcept nogil
        void (*add_into[2])(void *x, const void *y, long n) noexcept nogil
        void (*scale_into[2])(void *x, double factor, long n) noexcept nogil
        void (*sgd_step[2])(const dl_step *steps, long count, double lr, double momentum, int nesterov) noexcept nogil
        void (*rmsprop_step[2])(const dl_step *steps, long count, double lr, double rho, double eps,
            double momentum) noexcept nogil
        void (*adam_step[2])(const dl_step *steps, long count, double lr, double beta1, double beta2, double eps,
            int decoupled, long t) noexcept nogil

    const dl_pointwise *dl_pointwise_kernels()
