/* Decisions: counters of contexts, the mixing of what they say, and the learning from what came.
 *
 * Probabilities are those of a decision being 1. In the "stretched" domain, ln(p / (1 - p)) in units of 1/256, they
 * add up well: a mixer is a weighted sum there (logistic mixing, Mahoney 2005). Each context gives three numbers: the
 * stretched probability of its counter, how far that is from one half and how well it is known, and what happened
 * after the same last few outcomes in any surroundings. Three mixers, picked by small contexts, weigh them all; a
 * second mixer weighs the three; and two tables correct what that says in two more small contexts.
 */
#ifndef PACODEC_MIXING_H
#define PACODEC_MIXING_H

#include "integers.h"
#include "range_coder.h"

enum {
    STRETCH_MOST = 2816,      /* 11 nats */
    SQUASH_REACH = 3072,      /* 12 nats */
    COUNT_MOST = 255,         /* a counter's rate falls no more after so many outcomes */
    RATES = COUNT_MOST + 1,
    INPUTS = 3,               /* that a context gives */
    MIXERS = 3,               /* of a decision's first layer */
    STEPS = 45,               /* of a correction table: every 128 from -2816 to 2816 */
    HISTORIES = 256 * 4,      /* last outcomes, and how many there were in all */
    WEIGHT_MOST = 1 << 19,    /* 8.0; with it, products of weights and inputs fit 32 bits */
    RATE_LATE = 300,          /* of learning in the first layer, after many decisions */
    RATE_EARLY = 4,           /* times that more at first, falling with ... */
    RATE_FALL = 64,           /* ... so many decisions of the mixer */
    RATE_FINAL = 200          /* of learning in the second layer */
};

/* What all states hold the same: made once by pac_state_init, from integers alone. */
typedef struct {
    uint16_t squash[2 * SQUASH_REACH]; /* stretched number + SQUASH_REACH to probability in 1/65536 */
    int16_t stretch[4096];             /* probability in 1/4096 to stretched number */
    int16_t stretch_low[4096];         /* probability in 1/65536, below 1/16 */
    uint16_t rate[RATES];              /* of a counter's change, in 1/65536, by its count */
    uint16_t cost[4097];               /* bits of a decision of that probability in 1/4096, in 1/256 bit */
} Tables;

/* A counter: probability (22 bits) and count (10 bits); then a check of what it counts (16 bits) and the last
 * outcomes (8 bits, under a leading 1). All zero where it was never used. */
typedef struct {
    uint32_t counter;
    uint32_t tag;
} Slot;

/* The parts of one kind of decision: offsets are counted in 32-bit words from the start of the learned words. */
typedef struct {
    uint32_t contexts, stride, weight;
    uint32_t mixers, counts, finals, maps, corrections;
} Stage;

/* Which mixers and corrections a decision takes. */
typedef struct {
    uint32_t mixer[MIXERS], final, correction[2];
} Selection;

enum { MOST_CONTEXTS = 24, MOST_INPUTS = MOST_CONTEXTS * INPUTS };

static inline int32_t squash(const Tables *tables, int32_t x)
{
    return tables->squash[clamp(x, -SQUASH_REACH, SQUASH_REACH - 1) + SQUASH_REACH];
}

static inline int32_t stretch(const Tables *tables, uint32_t p)
{
    if (p < 4096)
        return tables->stretch_low[p];
    if (p >= 65536 - 4096)
        return -tables->stretch_low[65535 - p];
    return tables->stretch[p >> 4];
}

/* A counter of `counter` bits moves towards the outcome, the slower the more it has seen. */
static inline uint32_t updated_counter(const Tables *tables, uint32_t counter, int bit)
{
    int32_t p = (int32_t)(counter >> 10), count = (int32_t)(counter & 1023), target = bit ? 0x3FFFFF : 0;
    p += (int32_t)((int64_t)(target - p) * tables->rate[count] >> 16);
    return (uint32_t)p << 10 | (uint32_t)(count < COUNT_MOST ? count + 1 : COUNT_MOST);
}

/* The slot of a hash in a table of 2^bits: one of two neighbours, the one that counts it, else the less used. */
static inline Slot *find_slot(Slot *table, int bits, uint64_t hash)
{
    uint32_t tag = (uint32_t)(hash >> 8 & 0xFFFF) << 16, at = place(hash, bits);
    Slot *slot = table + at, *other = table + (at ^ 1);
    if (slot->counter && !((slot->tag ^ tag) >> 16))
        return slot;
    if (other->counter && !((other->tag ^ tag) >> 16))
        return other;
    if ((other->counter & 1023) < (slot->counter & 1023))
        slot = other;
    *slot = (Slot){1u << 31, tag | 1};
    return slot;
}

static inline uint32_t count_class(uint32_t count)
{
    return count < 8 ? 0 : count < 24 ? 1 : count < 96 ? 2 : 3;
}

/* Everything that a decision is made of, between the calls of `predict` and `update`. */
typedef struct {
    _Alignas(32) int32_t inputs[MOST_INPUTS];
    Slot *slots[MOST_CONTEXTS];
    uint32_t *maps[MOST_CONTEXTS];
    int32_t *weights[MIXERS], *final;
    uint32_t *corrections[2];
    int32_t outputs[MIXERS], mixed, step, fraction;
} Decision;

/* The probability of 1, in 1/65536, of a decision in the contexts whose slots are in `d->slots`. */
static inline uint32_t predict(const Tables *tables, const Stage *stage, uint32_t *learned, Decision *d,
                               const Selection *selection)
{
    const uint32_t contexts = stage->contexts, stride = stage->stride;
    uint32_t *map = learned + stage->maps;
    for (uint32_t i = 0; i < contexts; i++, map += HISTORIES) {
        const Slot *slot = d->slots[i];
        uint32_t count = slot->counter & 1023;
        int32_t p = (int32_t)(slot->counter >> 16);
        d->maps[i] = map + ((slot->tag & 255) << 2 | count_class(count));
        d->inputs[INPUTS * i] = count ? stretch(tables, (uint32_t)p) : 0;
        d->inputs[INPUTS * i + 1] = (p - 32768) * (int32_t)least(count, 32) >> 10;
        d->inputs[INPUTS * i + 2] = stretch(tables, *d->maps[i] >> 16);
    }
    for (uint32_t i = INPUTS * contexts; i < stride; i++)
        d->inputs[i] = 0;
    int64_t mixed = 0;
    d->final = (int32_t *)(learned + stage->finals) + 4 * selection->final;
    for (int k = 0; k < MIXERS; k++) {
        const int32_t *weights = d->weights[k] = (int32_t *)(learned + stage->mixers) + stride * selection->mixer[k];
        uint32_t sum = 0;
        for (uint32_t i = 0; i < stride; i++)
            sum += (uint32_t)((weights[i] >> 4) * d->inputs[i]);
        d->outputs[k] = clamp((int32_t)sum >> 12, -STRETCH_MOST, STRETCH_MOST);
        mixed += (int64_t)d->final[k] * d->outputs[k];
    }
    d->mixed = (int32_t)(mixed >> 16 < -STRETCH_MOST ? -STRETCH_MOST : mixed >> 16 > STRETCH_MOST ? STRETCH_MOST : mixed >> 16);
    d->step = (int32_t)least((uint32_t)(d->mixed + STRETCH_MOST) >> 7, STEPS - 2);
    d->fraction = d->mixed + STRETCH_MOST - (d->step << 7);
    int32_t p = 2 * squash(tables, d->mixed);
    for (int k = 0; k < 2; k++) {
        uint32_t *entry = d->corrections[k] = learned + stage->corrections + selection->correction[k] * STEPS + d->step;
        p += ((int32_t)(entry[0] >> 16) * (128 - d->fraction) + (int32_t)(entry[1] >> 16) * d->fraction) >> 7;
    }
    return (uint32_t)clamp(p >> 2, 1, 65535);
}

/* Take in the outcome of the decision that was last predicted. */
static inline void update(const Tables *tables, const Stage *stage, uint32_t *learned, Decision *d,
                          const Selection *selection, int bit)
{
    const uint32_t stride = stage->stride;
    const int32_t target = bit ? 65535 : 0;
    for (int k = 0; k < MIXERS; k++) {
        uint32_t *count = learned + stage->counts + selection->mixer[k];
        int32_t rate = RATE_LATE + RATE_LATE * RATE_EARLY * RATE_FALL / (RATE_FALL + (int32_t)least(*count, 0xFFFF));
        int32_t error = (target - squash(tables, d->outputs[k])) * rate >> 10, *weights = d->weights[k];
        *count += *count < 0xFFFF;
        for (uint32_t i = 0; i < stride; i++)
            weights[i] = clamp(weights[i] + ((d->inputs[i] * error + 8192) >> 14), -WEIGHT_MOST, WEIGHT_MOST);
    }
    int32_t error = (target - squash(tables, d->mixed)) * RATE_FINAL >> 10;
    for (int k = 0; k < MIXERS; k++)
        d->final[k] = clamp(d->final[k] + ((d->outputs[k] * error + 8192) >> 14), -WEIGHT_MOST, WEIGHT_MOST);
    const int64_t goal = bit ? 0xFFFFFFFF : 0;
    for (int k = 0; k < 2; k++) {
        uint32_t *entry = d->corrections[k];
        entry[0] = (uint32_t)(entry[0] + ((goal - (int64_t)entry[0]) * (128 - d->fraction) >> 12));
        entry[1] = (uint32_t)(entry[1] + ((goal - (int64_t)entry[1]) * d->fraction >> 12));
    }
    for (uint32_t i = 0; i < stage->contexts; i++) {
        Slot *slot = d->slots[i];
        uint32_t history = (slot->tag & 255) << 1 | (uint32_t)bit;
        slot->counter = updated_counter(tables, slot->counter, bit);
        slot->tag = (slot->tag & 0xFFFF0000u) | (history > 255 ? (history & 127) | 128 : history);
        *d->maps[i] = updated_counter(tables, *d->maps[i], bit);
    }
}

#endif
