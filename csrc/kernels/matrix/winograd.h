/* Winograd's transforms for 3x3 filters, float only: vectors along the channels, all lines of a tile in registers.
 *
 * A 2-D transform applies its matrix to every column and then to every row. The matrices, for m x m outputs from
 * (m+2) x (m+2) inputs: B^T d B of the input, G g G^T of the weights, A^T M A of the products; and for the weights'
 * gradient A dy A^T and G^T dU G. F(4, 3) evaluates at 0, 1, -1, 1/2, -2 and infinity: its entries stay smaller than those
 * of 0, +-1, +-2, and so do the rounding errors, by a factor of about 3. F(2, 3) evaluates at 0, 1, -1 and infinity.
 */
typedef void line_transform(const VEC *x, VEC *y);

/* B^T: rows are the coefficients of M(x) / (x - point), M the product of all (x - point); q = x^2 + 3/2 x - 1 is shared. */
INLINE void input_4(const VEC *d, VEC *r) {
    VEC f1 = d[3] - d[1], f2 = d[4] - d[2];
    VEC q0 = d[2] - d[0] + d[1] * 1.5f, q1 = f1 + d[2] * 1.5f, q2 = f2 + d[3] * 1.5f, q3 = d[5] - d[3] + d[4] * 1.5f;
    r[0] = q2 - q0;
    r[1] = q2 + q1;
    r[2] = q2 - q1;
    r[3] = f2 + f1 * 2.0f;
    r[4] = f2 - f1 * 0.5f;
    r[5] = q3 - q1;
}

/* G */
INLINE void weight_4(const VEC *g, VEC *u) {
    VEC even = (g[0] + g[2]) * (1.0f / 3), odd = g[1] * (1.0f / 3);
    u[0] = g[0];
    u[1] = odd + even;
    u[2] = odd - even;
    u[3] = (g[0] * 4.0f + g[1] * 2.0f + g[2]) * (-4.0f / 15);
    u[4] = (g[0] - g[1] * 2.0f + g[2] * 4.0f) * (1.0f / 15);
    u[5] = g[2];
}

/* A^T */
INLINE void output_4(const VEC *m, VEC *y) {
    VEC sum = m[1] + m[2], difference = m[1] - m[2];
    y[0] = m[0] + sum + (m[3] + m[4]);
    y[1] = difference + m[3] * 0.5f - m[4] * 2.0f;
    y[2] = sum + m[3] * 0.25f + m[4] * 4.0f;
    y[3] = difference + m[3] * 0.125f - m[4] * 8.0f + m[5];
}

/* A */
INLINE void gradient_4(const VEC *y, VEC *w) {
    VEC even = y[0] + y[2], odd = y[1] + y[3];
    w[0] = y[0];
    w[1] = even + odd;
    w[2] = even - odd;
    w[3] = y[0] + y[1] * 0.5f + y[2] * 0.25f + y[3] * 0.125f;
    w[4] = y[0] - y[1] * 2.0f + y[2] * 4.0f - y[3] * 8.0f;
    w[5] = y[3];
}

/* G^T */
INLINE void weight_gradient_4(const VEC *u, VEC *g) {
    VEC third = (u[1] - u[2]) * (1.0f / 3);
    g[0] = u[0] + third - u[3] * (16.0f / 15) + u[4] * (1.0f / 15);
    g[1] = (u[1] + u[2]) * (1.0f / 3) - u[3] * (8.0f / 15) - u[4] * (2.0f / 15);
    g[2] = u[5] + third + (u[4] - u[3]) * (4.0f / 15);
}

INLINE void input_2(const VEC *d, VEC *r) {
    r[0] = d[0] - d[2];
    r[1] = d[1] + d[2];
    r[2] = d[2] - d[1];
    r[3] = d[3] - d[1];
}

INLINE void weight_2(const VEC *g, VEC *u) {
    VEC even = (g[0] + g[2]) * 0.5f, odd = g[1] * 0.5f;
    u[0] = g[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = g[2];
}

INLINE void output_2(const VEC *m, VEC *y) {
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] + m[3];
}

INLINE void gradient_2(const VEC *y, VEC *w) {
    w[0] = y[0];
    w[1] = y[0] + y[1];
    w[2] = y[0] - y[1];
    w[3] = y[1];
}

INLINE void weight_gradient_2(const VEC *u, VEC *g) {
    VEC even = (u[1] + u[2]) * 0.5f;
    g[0] = u[0] + even;
    g[1] = (u[1] - u[2]) * 0.5f;
    g[2] = even + u[3];
}

enum { WIDEST = 6 };

/* Written once; `line`, IN and OUT are constants wherever it is inlined. bias and relu: only the output's. */
INLINE void transform(line_transform *line, const int IN, const int OUT, const float *from, const struct dl_plane *at, float *to,
                      const struct dl_plane *result, ptrdiff_t n, const float *bias, int relu) {
    for (ptrdiff_t c = 0; c < n; c += VL, from += VL, to += VL) {
        VEC half[WIDEST][WIDEST], x[WIDEST], y[WIDEST];
        UNROLL for (int j = 0; j < IN; j++) {
            UNROLL for (int i = 0; i < IN; i++) x[i] = load_f32(from + i * at->row + j * at->pixel);
            line(x, y);
            UNROLL for (int i = 0; i < OUT; i++) half[i][j] = y[i];
        }
        VEC shift = bias ? load_f32(bias + c) : (VEC){0};
        UNROLL for (int i = 0; i < OUT; i++) {
            line(half[i], y);
            UNROLL for (int j = 0; j < OUT; j++) {
                if (bias) y[j] += shift;
                if (relu) y[j] = (VEC)((MASK)y[j] & ~(MASK)(y[j] <= (VEC){0})); /* NaN stays NaN */
                store_f32(to + i * result->row + j * result->pixel, y[j]);
            }
        }
    }
}

#define TRANSFORM(name, IN, OUT)                                                                                       \
    static void winograd_##name(const float *from, const struct dl_plane *at, float *to, const struct dl_plane *result, \
                                ptrdiff_t n) {                                                                         \
        transform(name, IN, OUT, from, at, to, result, n, NULL, 0);                                                    \
    }
#define OUTPUT(name, IN, OUT)                                                                                          \
    static void winograd_##name(const float *from, const struct dl_plane *at, float *to, const struct dl_plane *result, \
                                ptrdiff_t n, const float *bias, int relu) {                                            \
        if (relu) transform(name, IN, OUT, from, at, to, result, n, bias, 1);                                          \
        else transform(name, IN, OUT, from, at, to, result, n, bias, 0);                                               \
    }
#define WINOGRAD(m)                                                                                                    \
    TRANSFORM(input_##m, m + 2, m + 2)                                                                                 \
    TRANSFORM(weight_##m, 3, m + 2)                                                                                    \
    TRANSFORM(gradient_##m, m, m + 2)                                                                                  \
    TRANSFORM(weight_gradient_##m, m + 2, 3)                                                                           \
    OUTPUT(output_##m, m + 2, m)
WINOGRAD(4)
WINOGRAD(2)
#define WINOGRAD_ENTRY(size)                                                                                           \
    {.m = size, .input = winograd_input_##size, .weight = winograd_weight_##size, .gradient = winograd_gradient_##size, \
     .weight_gradient = winograd_weight_gradient_##size, .output = winograd_output_##size}
