/* The same for x86-64 processors with AVX2, whose wide integer arithmetic makes mixing several times faster. */
#include "state.h"

#ifdef PACODEC_AVX2
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi2")
#endif
#define CODE_LABELS code_labels_avx2
#define CODE_NUMBERS code_numbers_avx2
#include "labels.h"
#include "numbers.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
