#include "dl_pointwise.h"

#include "dl_isa.h"

#define DL_TABLE(isa) extern const struct dl_pointwise dl_pointwise_table_##isa;
DL_FOR_EACH_ISA(DL_TABLE)

const struct dl_pointwise *dl_pointwise_kernels(void) { return DL_PICK(dl_pointwise_table); }
