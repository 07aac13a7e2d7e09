/* Eight numbers side by side, in GCC's and Clang's vector extensions: one AVX2 register, or as many smaller ones as it takes. */
#ifndef DL_LANES_H
#define DL_LANES_H
#include <stdint.h>

enum { DL_LANES = 8 };

/* anywhere in memory, among numbers of their own type */
typedef float lanes __attribute__((vector_size(4 * DL_LANES), aligned(4), may_alias));
typedef int32_t lane_numbers __attribute__((vector_size(4 * DL_LANES)));
#define AT(type, x) (*(type *)(x))
#define GET(type, x) (*(const type *)(x))
#endif
