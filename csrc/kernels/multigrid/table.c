/* This instruction set's kernels, in one table. */
#include "blocks.h"

#define DL_DECLARE(result, name, arguments) result DL_NAME(dl_grid_##name) arguments;
DL_GRID_KERNELS(DL_DECLARE)

#define DL_ENTRY(result, name, arguments) .name = DL_NAME(dl_grid_##name),
const struct dl_grid_kernels DL_NAME(dl_grid_table) = {DL_GRID_KERNELS(DL_ENTRY)};
