/* What these kernels share. */
#ifndef DL_KERNELS_GROUPS_H
#define DL_KERNELS_GROUPS_H
#include "dl_compiler.h"
#include "dl_groups.h"
#include "dl_lanes.h"

#define KERNEL(name) DL_NAME(dl_group_##name)
_Static_assert(DL_SIMILAR % DL_LANES == 0, "a row of a group's matrix is whole vectors");

#define DL_DECLARE(result, name, arguments) result KERNEL(name) arguments;
DL_GROUP_KERNELS(DL_DECLARE)

INLINE float total(lanes x) { return ((x[0] + x[4]) + (x[1] + x[5])) + ((x[2] + x[6]) + (x[3] + x[7])); }
#endif
