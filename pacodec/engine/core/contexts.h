/* Shared by the codings of labels and of numbers: collecting the contexts of a decision, and deciding it. */
#ifndef PACODEC_CONTEXTS_H
#define PACODEC_CONTEXTS_H

#include "state.h"

#if defined(__GNUC__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define PREFETCH(address) __builtin_prefetch(address, 1)
#else
#define ALWAYS_INLINE static inline
#define PREFETCH(address) ((void)(address))
#endif

/* The hashes of a decision's contexts. Those in the table may name colours and places; common ones name neither, and
 * what they count is of use to any footage. */
typedef struct {
    uint64_t hashes[MOST_CONTEXTS];
    uint64_t kind;
    uint32_t count, common; /* contexts so far, and how many of these are in the table */
} Contexts;

ALWAYS_INLINE void in_table(const View *view, Contexts *contexts, uint64_t a, uint64_t b)
{
    uint64_t hash = mix(mix(contexts->kind + contexts->count, a), b) * 0x9E3779B97F4A7C15u;
    PREFETCH(view->table + place(hash, (int)view->state->table_bits));
    contexts->hashes[contexts->count++] = hash;
    contexts->common = contexts->count;
}

ALWAYS_INLINE void in_common(const View *view, Contexts *contexts, uint64_t a)
{
    uint64_t hash = mix(contexts->kind + contexts->count, a) * 0x9E3779B97F4A7C15u;
    PREFETCH(view->common + place(hash, COMMON_BITS));
    contexts->hashes[contexts->count++] = hash;
}

/* The probability, in 1/65536, that the decision is 1. */
ALWAYS_INLINE uint32_t predict_decision(View *view, int stage, const Contexts *contexts, const Selection *selection)
{
    int bits = (int)view->state->table_bits;
    for (uint32_t i = 0; i < contexts->common; i++)
        view->decision.slots[i] = find_slot(view->table, bits, contexts->hashes[i]);
    for (uint32_t i = contexts->common; i < contexts->count; i++)
        view->decision.slots[i] = find_slot(view->common, COMMON_BITS, contexts->hashes[i]);
    return predict(view->tables, &view->state->stages[stage], view->learned, &view->decision, selection);
}

/* Code the decision whose probability was predicted, and learn from it. */
ALWAYS_INLINE int code_decision(View *view, int stage, const Selection *selection, uint32_t p, int bit)
{
    bit = code_bit(&view->state->coder, &view->stream, bit, p);
    update(view->tables, &view->state->stages[stage], view->learned, &view->decision, selection, bit);
    return bit;
}

ALWAYS_INLINE int decide(View *view, int stage, const Contexts *contexts, const Selection *selection, int bit)
{
    return code_decision(view, stage, selection, predict_decision(view, stage, contexts, selection), bit);
}

/* Whether a decoder has run out of bytes: the rest of its grid is not worth the time, for the segment will be refused. */
ALWAYS_INLINE int is_over(const View *view)
{
    return view->stream.input && view->state->coder.taken > view->stream.size;
}

/* What a decision of probability p / 65536 costs when it happens, in 1/256 bit. */
ALWAYS_INLINE uint32_t cost_of(const View *view, uint32_t p)
{
    return view->tables->cost[p >> 4];
}

#endif
