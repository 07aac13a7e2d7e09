/* Includes the file named by BODY twice: with REAL = float and with REAL = double. There K(f) is an exported kernel,
 * S(f) a static function, M(f) one of dl_math.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dl_compiler.h"
#include "dl_isa.h"
#include "dl_pointwise.h"
#include "dl_split.h"

#define DL_F64 0
#define REAL float
#define K(f) DL_NAME(dl_##f##_f32)
#define S(f) f##_f32
#define M(f) math_##f##_f32
#include "dl_math.h"
#include BODY
#undef DL_F64
#undef REAL
#undef K
#undef S
#undef M
#undef INDEX /* vector.h */
#undef WIDE
#undef V

#define DL_F64 1
#define REAL double
#define K(f) DL_NAME(dl_##f##_f64)
#define S(f) f##_f64
#define M(f) math_##f##_f64
#include "dl_math.h"
#include BODY
