/* Optimiser steps and accumulation: one pass, in place. The loops may be given the same array twice, element for
 * element, so the pointers are not `restrict`. */
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

void K(sgd_step)(void *p_, const void *g_, void *v_, double lr_, double momentum_, int nesterov, double decay_, long n) {
    REAL *p = p_, *v = v_;
    const REAL *g = g_, lr = (REAL)lr_, momentum = (REAL)momentum_, decay = (REAL)decay_;
    if (v == NULL) /* then v is g: without a past, Nesterov's step is (1 + momentum) g */
        DL_SPLIT(n, 64, n, S(sgd_plain)(p + lo, g + lo, nesterov ? (REAL)(lr_ * (1 + momentum_)) : lr, decay, hi - lo));
    else if (nesterov)
        DL_SPLIT(n, 64, n, S(sgd_nesterov)(p + lo, g + lo, v + lo, lr, momentum, decay, hi - lo));
    else
        DL_SPLIT(n, 64, n, S(sgd_momentum)(p + lo, g + lo, v + lo, lr, momentum, decay, hi - lo));
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

void K(rmsprop_step)(void *p_, const void *g_, void *s_, void *v_, double lr_, double rho_, double eps_,
                     double momentum_, double decay_, long n) {
    REAL *p = p_, *s = s_, *v = v_;
    const REAL *g = g_, lr = (REAL)lr_, rho = (REAL)rho_, new = (REAL)(1 - rho_), eps = (REAL)eps_;
    const REAL momentum = (REAL)momentum_, decay = (REAL)decay_;
    if (v == NULL)
        DL_SPLIT(n, 64, n, S(rmsprop_plain)(p + lo, g + lo, s + lo, lr, rho, new, eps, decay, hi - lo));
    else
        DL_SPLIT(n, 64, n, S(rmsprop_momentum)(p + lo, g + lo, s + lo, v + lo, lr, rho, new, eps, momentum, decay, hi - lo));
}

struct S(adam) {
    REAL step, root, beta1, new1, beta2, new2, eps, decay, shrink;
};

static void S(adam_range)(REAL *p, const REAL *g, REAL *m, REAL *v, const struct S(adam) * a, long n) {
    const REAL step = a->step, root = a->root, beta1 = a->beta1, new1 = a->new1, beta2 = a->beta2, new2 = a->new2;
    const REAL eps = a->eps, decay = a->decay, shrink = a->shrink;
    EACH {
        const REAL slope = g[i] + decay * p[i];
        const REAL first = beta1 * m[i] + new1 * slope, second = beta2 * v[i] + new2 * (slope * slope);
        m[i] = first;
        v[i] = second;
        p[i] -= shrink * p[i] + step * first / (ROOT(second) * root + eps);
    }
}

void K(adam_step)(void *p_, const void *g_, void *m_, void *v_, double lr, double beta1, double beta2, double eps,
                  double weight_decay, int decoupled, long t, long n) {
    REAL *p = p_, *m = m_, *v = v_;
    const REAL *g = g_;
    const struct S(adam) a = {
        .step = (REAL)(lr / (1 - pow(beta1, (double)t))),
        .root = (REAL)(1 / sqrt(1 - pow(beta2, (double)t))),
        .beta1 = (REAL)beta1,
        .new1 = (REAL)(1 - beta1),
        .beta2 = (REAL)beta2,
        .new2 = (REAL)(1 - beta2),
        .eps = (REAL)eps,
        .decay = decoupled ? 0 : (REAL)weight_decay,
        .shrink = decoupled ? (REAL)(lr * weight_decay) : 0,
    };
    DL_SPLIT(n, 64, n, S(adam_range)(p + lo, g + lo, m + lo, v + lo, &a, hi - lo));
}

#undef EACH
#undef ROOT
#endif
