/* Optimiser steps and accumulation: one pass, in place, and for all parameters together one parallel region. The loops may
 * be given the same array twice, element for element, so the pointers are not `restrict`. Denormals are 0: the moments
 * of a parameter without gradients would otherwise shrink into them and stay there. */
#ifndef REAL
#define BODY "optim.c"
#include "twice.h"
#else

#define EACH _Pragma("GCC ivdep") for (long i = 0; i < n; i++)

static void S(add_range)(REAL *x, const REAL *y, long n) { EACH x[i] += y[i]; }

void K(add_into)(void *x, const void *y, long n) {
    DL_SPLIT(n, 64, n, S(add_range)((REAL *)x + lo, (const REAL *)y + lo, hi - lo));
}

static void S(scale_range)(REAL *x, REAL factor, long n) { EACH x[i] *= factor; }

void K(scale_into)(void *x, double factor, long n) {
    DL_SPLIT(n, 64, n, S(scale_range)((REAL *)x + lo, (REAL)factor, hi - lo));
}

static void S(sgd_plain)(REAL *p, const REAL *g, REAL lr, REAL decay, long n) {
    EACH p[i] -= lr * (g[i] + decay * p[i]);
}

static void S(sgd_momentum)(REAL *p, const REAL *g, REAL *v, REAL lr, REAL momentum, REAL decay, long n) {
    EACH {
        const REAL now = momentum * v[i] + (g[i] + decay * p[i]);
        v[i] = now;
        p[i] -= lr * now;
    }
}

static void S(sgd_nesterov)(REAL *p, const REAL *g, REAL *v, REAL lr, REAL momentum, REAL decay, long n) {
    EACH {
        const REAL slope = g[i] + decay * p[i], now = momentum * v[i] + slope;
        v[i] = now;
        p[i] -= lr * (slope + momentum * now);
    }
}

/* Where a thread whose share begins or ends `at` elements after the beginning of an array of n leaves off. */
static long S(cut)(long at, long n) { return at <= 0 ? 0 : at >= n ? n : at / 64 * 64; }

/* Runs the last argument for every step `s` with its elements from..to, divided over the threads. */
#define EACH_STEP(steps, count, ...)                                                            \
    long total_ = 0;                                                                            \
    for (long i_ = 0; i_ < (count); i_++) total_ += (steps)[i_].n;                              \
    DL_SPLIT_FLUSHED(total_, 64, total_, {                                                      \
        long at_ = 0;                                                                           \
        for (long i_ = 0; i_ < (count) && at_ < hi; at_ += (steps)[i_].n, i_++) {               \
            const struct dl_step *s = (steps) + i_;                                             \
            const long from = S(cut)(lo - at_, s->n), n = S(cut)(hi - at_, s->n) - from;        \
            REAL *p = (REAL *)s->p + from;                                                      \
            const REAL *g = (const REAL *)s->g + from, decay = (REAL)s->decay;                  \
            if (n > 0) {                                                                        \
                __VA_ARGS__;                                                                    \
            }                                                                                   \
        }                                                                                       \
    })

void K(sgd_step)(const struct dl_step *steps, long count, double lr_, double momentum_, int nesterov) {
    const REAL lr = (REAL)lr_, momentum = (REAL)momentum_;
    const REAL plain = nesterov ? (REAL)(lr_ * (1 + momentum_)) : lr; /* without a past v is g, Nesterov's step (1 + momentum) g */
    EACH_STEP(steps, count, {
        REAL *v = s->state ? (REAL *)s->state + from : NULL;
        if (v == NULL) S(sgd_plain)(p, g, plain, decay, n);
        else if (nesterov) S(sgd_nesterov)(p, g, v, lr, momentum, decay, n);
        else S(sgd_momentum)(p, g, v, lr, momentum, decay, n);
    });
}

#define ROOT(x) ((REAL)(sizeof(REAL) == 4 ? sqrtf((float)(x)) : sqrt(x)))

static void S(rmsprop_plain)(REAL *p, const REAL *g, REAL *s, REAL lr, REAL rho, REAL new, REAL eps, REAL decay, long n) {
    EACH {
        const REAL slope = g[i] + decay * p[i], square = rho * s[i] + new *(slope *slope);
        s[i] = square;
        p[i] -= lr * (slope / (ROOT(square) + eps));
    }
}

static void S(rmsprop_momentum)(REAL *p, const REAL *g, REAL *s, REAL *v, REAL lr, REAL rho, REAL new, REAL eps,
                                REAL momentum, REAL decay, long n) {
    EACH {
        const REAL slope = g[i] + decay * p[i], square = rho * s[i] + new *(slope *slope);
        const REAL now = momentum * v[i] + slope / (ROOT(square) + eps);
        s[i] = square;
        v[i] = now;
        p[i] -= lr * now;
    }
}

void K(rmsprop_step)(const struct dl_step *steps, long count, double lr_, double rho_, double eps_, double momentum_) {
    const REAL lr = (REAL)lr_, rho = (REAL)rho_, new = (REAL)(1 - rho_), eps = (REAL)eps_, momentum = (REAL)momentum_;
    EACH_STEP(steps, count, {
        REAL *square = (REAL *)s->state + from;
        if (s->more == NULL) S(rmsprop_plain)(p, g, square, lr, rho, new, eps, decay, n);
        else S(rmsprop_momentum)(p, g, square, (REAL *)s->more + from, lr, rho, new, eps, momentum, decay, n);
    });
}

struct S(adam) {
    REAL step, root, beta1, new1, beta2, new2, eps;
};

static void S(adam_range)(REAL *p, const REAL *g, REAL *m, REAL *v, const struct S(adam) * a, REAL decay, REAL shrink,
                          long n) {
    const REAL step = a->step, root = a->root, beta1 = a->beta1, new1 = a->new1, beta2 = a->beta2, new2 = a->new2;
    const REAL eps = a->eps;
    EACH {
        const REAL slope = g[i] + decay * p[i];
        const REAL first = beta1 * m[i] + new1 * slope, second = beta2 * v[i] + new2 * (slope * slope);
        m[i] = first;
        v[i] = second;
        p[i] -= shrink * p[i] + step * first / (ROOT(second) * root + eps);
    }
}

void K(adam_step)(const struct dl_step *steps, long count, double lr, double beta1, double beta2, double eps,
                  int decoupled, long t) {
    const struct S(adam) a = {
        .step = (REAL)(lr / (1 - pow(beta1, (double)t))),
        .root = (REAL)(1 / sqrt(1 - pow(beta2, (double)t))),
        .beta1 = (REAL)beta1,
        .new1 = (REAL)(1 - beta1),
        .beta2 = (REAL)beta2,
        .new2 = (REAL)(1 - beta2),
        .eps = (REAL)eps,
    };
    EACH_STEP(steps, count, {
        REAL *m = (REAL *)s->state + from, *v = (REAL *)s->more + from;
        S(adam_range)(p, g, m, v, &a, decoupled ? 0 : decay, decoupled ? (REAL)(lr * s->decay) : 0, n);
    });
}

#undef EACH_STEP
#undef EACH
#undef ROOT
#endif
