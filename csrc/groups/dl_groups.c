#include "dl_groups.h"

#define DL_TABLE(isa) extern const struct dl_group_kernels dl_group_table_##isa;
DL_FOR_EACH_ISA(DL_TABLE)

const struct dl_group_kernels *dl_group_kernels(void) { return DL_PICK(dl_group_table); }
