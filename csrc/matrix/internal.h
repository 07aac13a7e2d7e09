/* What the drivers share. */
#ifndef DL_MATRIX_INTERNAL_H
#define DL_MATRIX_INTERNAL_H
#include <string.h>

#include "dl_matrix.h"
#include "dl_threads.h"
#include "workspace.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

static inline ptrdiff_t dl_ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
static inline ptrdiff_t dl_round_up(ptrdiff_t a, ptrdiff_t b) { return dl_ceil_div(a, b) * b; }

/* Threads for so many multiply-adds: a region costs about as much as 20,000 of them. */
static inline int dl_threads_for(double multiply_adds) { return multiply_adds < 40000 ? 1 : dl_max_threads(); }

#endif
