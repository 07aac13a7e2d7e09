/* This instruction set's kernels, in one table. */
#include "dl_isa.h"
#include "dl_pointwise.h"

#define DL_DECLARE(result, name, arguments)        \
    result DL_NAME(dl_##name##_f32) arguments;     \
    result DL_NAME(dl_##name##_f64) arguments;
DL_POINTWISE_KERNELS(DL_DECLARE)

#define DL_ENTRY(result, name, arguments) .name = {DL_NAME(dl_##name##_f32), DL_NAME(dl_##name##_f64)},
const struct dl_pointwise DL_NAME(dl_pointwise_table) = {DL_POINTWISE_KERNELS(DL_ENTRY)};
