#include "dl_multigrid.h"

#define DL_TABLE(isa) extern const struct dl_grid_kernels dl_grid_table_##isa;
DL_FOR_EACH_ISA(DL_TABLE)

const struct dl_grid_kernels *dl_grid_kernels(void) { return DL_PICK(dl_grid_table); }
