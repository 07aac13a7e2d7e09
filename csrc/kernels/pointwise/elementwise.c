/* Element by element: arithmetic, activations and their slopes. One formula each, one loop for all. */
#ifndef REAL
#define BODY "elementwise.c"
#include "twice.h"
#else

/* v is the element, p and q the parameters */
#define UNARY(name, formula)                                                                                     \
    static void S(name##_range)(const REAL *restrict x, REAL *restrict y, const REAL p, const REAL q, long n) {  \
        (void)p, (void)q;                                                                                        \
        for (long i = 0; i < n; i++) {                                                                           \
            const REAL v = x[i];                                                                                 \
            y[i] = formula;                                                                                      \
        }                                                                                                        \
    }                                                                                                            \
    void K(name)(const void *x, void *y, double p, double q, long n) {                                           \
        DL_SPLIT(n, 64, n, S(name##_range)((const REAL *)x + lo, (REAL *)y + lo, (REAL)p, (REAL)q, hi - lo));    \
    }

#define GREATER(a, b) (((a) >= (b)) | ((a) != (a)) ? (a) : (b)) /* NaN wins, as in NumPy */
#define SMALLER(a, b) (((a) <= (b)) | ((a) != (a)) ? (a) : (b))

UNARY(negative, -v)
UNARY(exp, M(exp)(v))
UNARY(log, M(log)(v))
UNARY(sqrt, (REAL)(sizeof(REAL) == 4 ? sqrtf((float)v) : sqrt(v)))
UNARY(abs, (REAL)__builtin_fabs(v))
UNARY(sigmoid, M(sigmoid)(v))
UNARY(tanh, M(tanh)(v))
UNARY(relu, v <= 0 ? 0 : v)
UNARY(leaky_relu, v > 0 ? v : p * v)
UNARY(elu, v > 0 ? v : p * M(expm1)(v))
UNARY(softplus, M(softplus)(v))
UNARY(silu, (v < -1000 ? -1000 : v) * M(sigmoid)(v)) /* the limit at -inf is 0, not inf * 0 */

static inline __attribute__((always_inline)) REAL S(gelu_one)(REAL v) {
    const REAL z = M(limit)(v, (REAL)-DL_PHI_MAX, (REAL)DL_PHI_MAX);
    return M(choose)(v < (REAL)-DL_PHI_MAX, 0, v) * M(phi_from)(z, M(gauss)(z));
}
UNARY(gelu, S(gelu_one)(v))

static inline __attribute__((always_inline)) REAL S(clip_one)(REAL v, REAL low, REAL high) {
    v = GREATER(v, low);
    return SMALLER(v, high);
}
UNARY(clip, S(clip_one)(v, p, q))

/* d is dy; v is x or y, whichever the slope follows from */
#define SLOPE(name, formula)                                                                                     \
    static void S(name##_range)(const REAL *restrict dy, const REAL *restrict xy, REAL *restrict dx, const REAL p, \
                                long n) {                                                                        \
        (void)p;                                                                                                 \
        for (long i = 0; i < n; i++) {                                                                           \
            const REAL d = dy[i], v = xy[i];                                                                     \
            dx[i] = formula;                                                                                     \
        }                                                                                                        \
    }                                                                                                            \
    void K(name)(const void *dy, const void *xy, void *dx, double p, long n) {                                   \
        DL_SPLIT(n, 64, n, S(name##_range)((const REAL *)dy + lo, (const REAL *)xy + lo, (REAL *)dx + lo, (REAL)p, hi - lo)); \
    }

static inline __attribute__((always_inline)) REAL S(gelu_slope)(REAL v) { /* Phi(x) + x phi(x) */
    const REAL z = M(limit)(v, (REAL)-DL_PHI_MAX, (REAL)DL_PHI_MAX), gauss = M(gauss)(z);
    return M(choose)(v < (REAL)-DL_PHI_MAX, 0, M(phi_from)(z, gauss) + z * gauss * (REAL)0.39894228040143268);
}
static inline __attribute__((always_inline)) REAL S(silu_slope)(REAL v) { /* s + x s (1 - s) */
    const REAL z = M(limit)(v, (REAL)-1000, (REAL)1000), e = M(exp)(-(REAL)__builtin_fabs(z));
    const REAL large = 1 / (1 + e), small = e * large; /* s and 1 - s, each to full precision */
    return (z > 0 ? large : small) + z * (large * small);
}

SLOPE(sigmoid_backward, d * (v * (1 - v)))
SLOPE(tanh_backward, d * ((1 - v) * (1 + v)))
SLOPE(relu_backward, v > 0 ? d : 0)
SLOPE(leaky_relu_backward, v > 0 ? d : p * d)
SLOPE(elu_backward, v > 0 ? d : d * (p * M(exp)(v)))
SLOPE(softplus_backward, d * M(sigmoid)(v))
SLOPE(gelu_backward, d * S(gelu_slope)(v))
SLOPE(silu_backward, d * S(silu_slope)(v))

#define ROW 1024 /* a short row is repeated until it is about this long, so that the loop over it is worth starting */

#define BINARY(name, OUT, formula)                                                                                    \
    static void S(name##_range)(const REAL *restrict a, const REAL *restrict b, OUT *restrict out, long n) {    \
        for (long i = 0; i < n; i++) {                                                                           \
            const REAL u = a[i], v = b[i];                                                                       \
            out[i] = formula;                                                                                    \
        }                                                                                                        \
    }                                                                                                            \
    static void S(name##_number_right)(const REAL *restrict a, const REAL v, OUT *restrict out, long n) {       \
        for (long i = 0; i < n; i++) {                                                                           \
            const REAL u = a[i];                                                                                 \
            out[i] = formula;                                                                                    \
        }                                                                                                        \
    }                                                                                                            \
    static void S(name##_number_left)(const REAL u, const REAL *restrict b, OUT *restrict out, long n) {        \
        for (long i = 0; i < n; i++) {                                                                           \
            const REAL v = b[i];                                                                                 \
            out[i] = formula;                                                                                    \
        }                                                                                                        \
    }                                                                                                            \
    void K(name)(const void *a_, const void *b_, void *y_, double number, long n, long c, enum dl_operands operands) { \
        const REAL *a = a_, *b = b_;                                                                             \
        OUT *y = y_;                                                                                             \
        if (n == 0) return;                                                                                      \
        if (operands == DL_BOTH) {                                                                               \
            DL_SPLIT(n, 64, n, S(name##_range)(a + lo, b + lo, y + lo, hi - lo));                                \
        } else if (operands == DL_NUMBER_RIGHT) {                                                                \
            DL_SPLIT(n, 64, n, S(name##_number_right)(a + lo, (REAL)number, y + lo, hi - lo));                   \
        } else if (operands == DL_NUMBER_LEFT) {                                                                 \
            DL_SPLIT(n, 64, n, S(name##_number_left)((REAL)number, b + lo, y + lo, hi - lo));                    \
        } else {                                                                                                 \
            REAL repeated[ROW];                                                                                  \
            const REAL *row = operands == DL_ROW_RIGHT ? b : a;                                                  \
            long len = c;                                                                                        \
            if (2 * c <= ROW && n > c) row = S(repeat_row)(row, c, dl_min(n, ROW), repeated, &len);              \
            if (operands == DL_ROW_RIGHT) {                                                                      \
                DL_SPLIT(n, len, n, for (long i = lo; i < hi; i += len) S(name##_range)(                         \
                    a + i, row, y + i, dl_min(len, hi - i)));                                                    \
            } else {                                                                                             \
                DL_SPLIT(n, len, n, for (long i = lo; i < hi; i += len) S(name##_range)(                         \
                    row, b + i, y + i, dl_min(len, hi - i)));                                                    \
            }                                                                                                    \
        }                                                                                                        \
    }

static const REAL *S(repeat_row)(const REAL *row, long c, long room, REAL *repeated, long *len) {
    *len = room / c * c;
    for (long i = 0; i < *len; i += c) memcpy(repeated + i, row, (size_t)c * sizeof(REAL));
    return repeated;
}

BINARY(add, REAL, u + v)
BINARY(subtract, REAL, u - v)
BINARY(multiply, REAL, u *v)
BINARY(divide, REAL, u / v)
BINARY(maximum, REAL, GREATER(u, v))
BINARY(minimum, REAL, SMALLER(u, v))
BINARY(greater, uint8_t, u > v)
BINARY(greater_equal, uint8_t, u >= v)
BINARY(equal, uint8_t, u == v)

static void S(where_range)(const uint8_t *restrict mask, const REAL *restrict a, const REAL *restrict b, REAL *restrict y,
                           REAL number, long n) {
    if (a != NULL && b != NULL) {
        for (long i = 0; i < n; i++) y[i] = mask[i] ? a[i] : b[i];
    } else if (a != NULL) {
        for (long i = 0; i < n; i++) y[i] = mask[i] ? a[i] : number;
    } else {
        for (long i = 0; i < n; i++) y[i] = mask[i] ? number : b[i];
    }
}

void K(where)(const uint8_t *mask, const void *a_, const void *b_, void *y, double number, long n) {
    const REAL *a = a_, *b = b_;
    DL_SPLIT(n, 64, n, S(where_range)(mask + lo, a ? a + lo : NULL, b ? b + lo : NULL, (REAL *)y + lo, (REAL)number, hi - lo));
}

#undef UNARY
#undef SLOPE
#undef BINARY
#undef GREATER
#undef SMALLER
#undef ROW
#endif
