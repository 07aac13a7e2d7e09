/* This instruction set's kernels, in one table. */
#include "groups.h"

#define DL_ENTRY(result, name, arguments) .name = KERNEL(name),
const struct dl_group_kernels DL_NAME(dl_group_table) = {DL_GROUP_KERNELS(DL_ENTRY)};
