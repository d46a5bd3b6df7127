/* Coding of grids for any processor. */
#define CODE_LABELS code_labels_baseline
#define CODE_NUMBERS code_numbers_baseline
#include "labels.h"
#include "numbers.h"
