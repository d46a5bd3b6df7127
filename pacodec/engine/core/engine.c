/* The functions of engine.h: layout of a state, segments, and the choice of code for the processor at hand. */
#include "engine.h"

#include <string.h>

#include "state.h"

#ifndef PACODEC_SOURCES
#define PACODEC_SOURCES ""
#endif

const char *pac_sources(void)
{
    return PACODEC_SOURCES;
}

/* 65536 / (1 + exp(-x / 4)) for x = -48 .. 48, rounded: squash at every 64th of its arguments. */
static const uint16_t SIGMOID[97] = {
    1, 1, 1, 1, 1, 1, 2, 2, 3, 4, 5, 6,
    8, 10, 13, 17, 22, 28, 36, 47, 60, 77, 98, 126,
    162, 208, 267, 342, 439, 562, 720, 922, 1179, 1506, 1921, 2446,
    3108, 3938, 4971, 6249, 7812, 9702, 11955, 14595, 17625, 21025, 24743, 28693,
    32768, 36843, 40793, 44511, 47911, 50941, 53581, 55834, 57724, 59287, 60565, 61598,
    62428, 63090, 63615, 64030, 64357, 64614, 64816, 64974, 65097, 65194, 65269, 65328,
    65374, 65410, 65438, 65459, 65476, 65489, 65500, 65508, 65514, 65519, 65523, 65526,
    65528, 65530, 65531, 65532, 65533, 65534, 65534, 65535, 65535, 65535, 65535, 65535,
    65535,
};

static void make_tables(Tables *tables)
{
    for (int x = 0; x < 2 * SQUASH_REACH; x++) {
        uint32_t left = SIGMOID[x >> 6], right = SIGMOID[(x >> 6) + 1], fraction = (uint32_t)x & 63;
        tables->squash[x] = (uint16_t)((left * (64 - fraction) + right * fraction + 32) >> 6);
    }
    /* Stretch is the inverse: the least number whose squash is at least the probability. */
    int x = -STRETCH_MOST;
    for (int p = 0; p < 65536; p++) {
        while (x < STRETCH_MOST && squash(tables, x) < p)
            x++;
        if (p < 4096)
            tables->stretch_low[p] = (int16_t)x;
        if (p % 16 == 8)
            tables->stretch[p >> 4] = (int16_t)x;
    }
    for (uint32_t count = 0; count < RATES; count++)
        tables->rate[count] = (uint16_t)(655360 / (10 * count + 16));
    /* -log2(p / 4096) in 1/256 bit, a binary digit at a time: squaring a number in [1, 2) doubles its logarithm. */
    for (uint32_t p = 1; p <= 4096; p++) {
        uint32_t whole = 0, digits = 0;
        while (p << whole < 4096)
            whole++;
        uint64_t y = (uint64_t)p << (whole + 18); /* in [1, 2), scaled by 2^30 */
        for (int i = 0; i < 8; i++) {
            y = y * y >> 30;
            digits = digits << 1 | (uint32_t)(y >> 31);
            y >>= y >> 31;
        }
        tables->cost[p] = (uint16_t)(whole * 256 - digits);
    }
    tables->cost[0] = tables->cost[1];
}

enum { COUNT_OF_START = 30 }; /* outcomes that a counter of a general start has seen at the most */

typedef struct {
    uint32_t contexts, mixers, finals, corrections, weight;
} StageShape;

static const StageShape SHAPES[STAGES] = {
    [STAGE_BLOCK] = {11, 128, 16, 32, 9000},   [STAGE_COPY] = {4, 19, 5, 19, 18000},
    [STAGE_SAME] = {16, 208, 32, 78, 9000},    [STAGE_QUIET] = {8, 320, 16, 84, 14000},
       [STAGE_CANDIDATE] = {14, 480, 10, 288, 11000},
    [STAGE_BITS] = {9, 265, 8, 264, 14000},   [STAGE_SHADE] = {9, 265, 8, 264, 14000},
    [STAGE_KEPT] = {10, 64, 4, 64, 14000},     [STAGE_LEVEL] = {12, 528, 8, 520, 11000},
};

/* Places of everything, from the first fields; returns the size of the state. */
static uint64_t lay_out(State *state)
{
    uint32_t words = 0;
    for (int i = 0; i < STAGES; i++) {
        const StageShape *shape = &SHAPES[i];
        Stage *stage = &state->stages[i];
        *stage = (Stage){shape->contexts, (INPUTS * shape->contexts + 7) & ~7u, shape->weight, words, 0, 0, 0, 0};
        stage->counts = stage->mixers + shape->mixers * stage->stride;
        stage->finals = stage->counts + shape->mixers;
        stage->maps = stage->finals + 4 * shape->finals;
        stage->corrections = stage->maps + shape->contexts * HISTORIES;
        words = (stage->corrections + shape->corrections * STEPS + 7) & ~7u;
    }
    state->learned_words = words + (2u << COMMON_BITS);
    uint64_t at = (sizeof(State) + 63) & ~63u;
    uint64_t area = state->area, guard = (uint64_t)GUARD * state->stride + 64;
#define TAKE(field, bytes) (state->field = at, at = (at + (bytes) + 63) & ~(uint64_t)63)
    TAKE(learned, 4ull * state->learned_words);
    TAKE(table, sizeof(Slot) << state->table_bits);
    if (state->planes) {
        TAKE(matches, (uint64_t)4 * MATCHES << MATCH_BITS);
        TAKE(successors, (uint64_t)4 * SUCCESSORS << SUCCESSOR_BITS);
        TAKE(latest, 4ull << 16);
        TAKE(history, state->planes * (state->grids * area + 2 * guard));
        TAKE(distances, 4 * (area + 2 * state->stride));
        TAKE(runs, area + 2 * state->stride);
        TAKE(changes, 4 * area);
        TAKE(blocks, (uint64_t)(state->rows + 2) * (state->columns + 2) * sizeof(Block));
    }
    TAKE(levels, 3ull * state->numbers * (state->height + 2) * (state->width + 3));
#undef TAKE
    return state->size = at;
}

static int shape_state(State *state, uint32_t ordinal, uint32_t channels, uint32_t height, uint32_t width)
{
    memset(state, 0, sizeof *state);
    if (ordinal > 1 || !channels || !height || !width || height > SIDE_MOST || width > SIDE_MOST)
        return 0;
    if ((uint64_t)channels * height * width > 1u << 28)
        return 0;
    *state = (State){.ordinal = ordinal, .channels = channels, .height = height, .width = width};
    state->planes = ordinal ? 0 : channels == 2 ? 2 : 1;
    state->numbers = ordinal ? channels : channels > 2 ? channels - 1 : 0;
    state->stride = width + 2 * MARGIN_X;
    state->area = (height + 2 * MARGIN_Y) * state->stride;
    state->grids = (uint32_t)clamp((int32_t)(HISTORY_BYTES / state->area), GRIDS_LEAST, GRIDS_MOST);
    state->rows = (height + BLOCK - 1) / BLOCK;
    state->columns = (width + BLOCK - 1) / BLOCK;
    uint64_t codes = (uint64_t)height * width * (ordinal ? channels : 1);
    state->table_bits = 16;
    while (state->table_bits < 21 && codes << 5 > 1ull << state->table_bits)
        state->table_bits++;
    lay_out(state);
    return 1;
}

/* The first estimate for a run of last outcomes: later ones count more, in 4/5 steps. */
static uint32_t first_estimate(uint32_t history)
{
    uint32_t seen[2] = {26, 26}, weight = 64;
    for (; history > 1; history >>= 1, weight = weight * 4 / 5)
        seen[history & 1] += weight;
    uint32_t p = (uint32_t)clamp((int32_t)((seen[1] << 16) / (seen[0] + seen[1])), 1311, 64225);
    return p << 16 | 4;
}

static void begin_stage(const State *state, uint32_t *learned, int number)
{
    const Stage *stage = &state->stages[number];
    const StageShape *shape = &SHAPES[number];
    for (uint32_t k = 0; k < shape->mixers; k++)
        for (uint32_t i = 0; i < INPUTS * shape->contexts; i++)
            learned[stage->mixers + k * stage->stride + i] = i % INPUTS == 1 ? 0 : stage->weight;
    for (uint32_t i = 0; i < 4 * shape->finals; i++)
        learned[stage->finals + i] = i % 4 < MIXERS ? 65536 / MIXERS : 0;
    for (uint32_t i = 0; i < shape->contexts * HISTORIES; i++)
        learned[stage->maps + i] = first_estimate(i / 4 % 256);
    for (uint32_t i = 0; i < shape->corrections * STEPS; i++)
        learned[stage->corrections + i] = (uint32_t)squash(&state->tables, (int32_t)(i % STEPS) * 128 - STRETCH_MOST) << 16;
}

size_t pac_state_size(uint32_t ordinal, uint32_t channels, uint32_t height, uint32_t width)
{
    State state;
    return shape_state(&state, ordinal, channels, height, width) ? (size_t)state.size : 0;
}

int pac_state_init(void *memory, uint32_t ordinal, uint32_t channels, uint32_t height, uint32_t width,
                   const uint8_t *start, size_t start_size)
{
    State *state = memory;
    if (!shape_state(state, ordinal, channels, height, width))
        return 1;
    make_tables(&state->tables);
    uint32_t *learned = (uint32_t *)((uint8_t *)memory + state->learned);
    if (start) {
        if (start_size != 4ull * state->learned_words)
            return 1;
        for (uint32_t i = 0; i < state->learned_words; i++)
            learned[i] = load32(start + 4ull * i);
    } else {
        for (int i = 0; i < STAGES; i++)
            begin_stage(state, learned, i);
    }
    state->mean_change = 8 << 12;
    state->mean_rest = 8 << 12;
    return 0;
}

/* Counters whose words stand one after the other, or every second, forget how much they have seen beyond some, and
 * what is too fine to matter, so that the start packs well. */
static void forget_counts(uint32_t *words, uint32_t count, uint32_t step)
{
    for (uint32_t i = 0; i < count; i += step)
        words[i] = (words[i] & ~0x3FFFFu) | least(words[i] & 1023, COUNT_OF_START);
}

size_t pac_state_learned(void *memory, uint8_t *out, size_t capacity)
{
    State *state = memory;
    uint32_t *learned = (uint32_t *)((uint8_t *)memory + state->learned);
    size_t size = 4ull * state->learned_words;
    if (!out || capacity < size)
        return size;
    for (int i = 0; i < STAGES; i++) {
        const Stage *stage = &state->stages[i];
        forget_counts(learned + stage->maps, stage->contexts * HISTORIES, 1);
        for (uint32_t k = 0; k < SHAPES[i].mixers; k++)
            learned[stage->counts + k] = least(learned[stage->counts + k], RATE_FALL);
        for (uint32_t k = stage->mixers; k < stage->counts; k++)
            learned[k] = (learned[k] + 64) & ~127u;
        for (uint32_t k = 0; k < SHAPES[i].corrections * STEPS; k++)
            learned[stage->corrections + k] &= 0xFFFF0000u;
    }
    forget_counts(learned + state->learned_words - (2u << COMMON_BITS), 2u << COMMON_BITS, 2);
    for (uint32_t i = 0; i < state->learned_words; i++)
        store32(out + 4ull * i, learned[i]);
    return size;
}

size_t pac_bound(const void *memory)
{
    const State *state = memory;
    size_t codes = (size_t)state->height * state->width;
    /* At most 2 bytes a decision: 28 of a label with its shade, 9 of a number, 5 of a block; vectors and the end. */
    return 56 * codes * (state->planes > 0) + 18 * codes * state->numbers +
           10 * (size_t)(state->rows + 1) * (state->columns + 1) + 256;
}

static View view_of(State *state, Stream stream, const uint16_t *costs, const uint16_t *spans)
{
    uint8_t *base = (uint8_t *)state;
    uint64_t guard = (uint64_t)GUARD * state->stride + 64;
    View view = {.state = state, .tables = &state->tables, .costs = costs, .stream = stream};
    if (costs && state->planes == 1 && state->channels == 1)
        view.spans = spans;
    view.learned = (uint32_t *)(base + state->learned);
    view.common = (Slot *)(view.learned + state->learned_words - (2u << COMMON_BITS));
    view.table = (Slot *)(base + state->table);
    view.levels = base + state->levels;
    if (state->planes) {
        view.matches = (uint32_t *)(base + state->matches);
        view.successors = (uint32_t *)(base + state->successors);
        view.latest = (uint32_t *)(base + state->latest);
        view.history = base + state->history + guard;
        view.plane = state->grids * (uint64_t)state->area + 2 * guard;
        view.distances = (int32_t *)(base + state->distances) + state->stride;
        view.runs = base + state->runs + state->stride;
        view.changes = (uint32_t *)(base + state->changes);
        view.blocks = (Block *)(base + state->blocks);
    }
    return view;
}

static void begin_segment(State *state, Stream stream)
{
    coder_begin(&state->coder, &stream);
    state->beginning = 1;
    memset((uint8_t *)state + state->levels, 0, 3ull * state->numbers * (state->height + 2) * (state->width + 3));
}

/* All variants give the same bytes; the faster one is taken where the processor has what it needs. */
static void code_grid(View *view, uint8_t *grid)
{
    const State *state = view->state;
    CodeGrid *labels = code_labels_baseline, *numbers = code_numbers_baseline;
#ifdef PACODEC_AVX2
    if (__builtin_cpu_supports("avx2")) {
        labels = code_labels_avx2;
        numbers = code_numbers_avx2;
    }
#endif
    if (state->planes)
        labels(view, grid);
    if (state->numbers)
        numbers(view, grid + (size_t)(state->channels - state->numbers) * state->height * state->width);
    view->state->beginning = 0;
    view->state->time++;
}

static void code_grids(View *view, uint8_t *grids, uint32_t count)
{
    size_t size = (size_t)view->state->channels * view->state->height * view->state->width;
    for (uint32_t i = 0; i < count; i++) {
        code_grid(view, grids + i * size);
        if (view->spans)
            view->spans += size;
    }
}

void pac_encode_begin(void *state)
{
    begin_segment(state, (Stream){0});
}

size_t pac_encode(void *state, uint8_t *grids, uint32_t count, const uint16_t *costs, const uint16_t *spans,
                  uint8_t *out, size_t capacity)
{
    View view = view_of(state, (Stream){.output = out, .capacity = capacity}, costs, spans);
    code_grids(&view, grids, count);
    return view.stream.written;
}

size_t pac_encode_end(void *state, uint8_t *out, size_t capacity)
{
    Stream stream = {.output = out, .capacity = capacity};
    Coder *coder = &((State *)state)->coder;
    coder_finish(coder, &stream);
    *coder = (Coder){0};
    return stream.written;
}

static const uint8_t NOTHING[1];

static Stream input(const uint8_t *data, size_t size)
{
    return (Stream){.input = data ? data : NOTHING, .size = data ? size : 0};
}

/* A coder looks CODER_BYTES ahead and no further. */
static int overrun(const State *state, size_t size)
{
    return state->coder.taken > size;
}

int pac_decode_begin(void *state, const uint8_t *data, size_t size)
{
    begin_segment(state, input(data, size));
    return overrun(state, size);
}

int pac_decode(void *state, const uint8_t *data, size_t size, uint8_t *grids, uint32_t count)
{
    return pac_decode_costs(state, data, size, grids, count, NULL);
}

int pac_decode_costs(void *state, const uint8_t *data, size_t size, uint8_t *grids, uint32_t count, uint32_t *costs)
{
    View view = view_of(state, input(data, size), NULL, NULL);
    size_t grid = (size_t)view.state->channels * view.state->height * view.state->width;
    const size_t blocks = (size_t)view.state->rows * view.state->columns;
    for (uint32_t i = 0; i < count && !overrun(state, size); i++) {
        uint64_t position = 0;
        if (costs) {
            view.spent = costs + i * (blocks + 1);
            memset(view.spent, 0, 4 * (blocks + 1));
            position = coder_position(&view.state->coder);
        }
        code_grid(&view, grids + i * grid);
        if (costs) {
            uint64_t rest = coder_position(&view.state->coder) - position;
            for (size_t block = 0; block < blocks; block++)
                rest -= view.spent[block];
            view.spent[blocks] = (uint32_t)rest;
        }
    }
    return overrun(state, size);
}

int pac_decode_end(void *state, const uint8_t *data, size_t size)
{
    (void)data;
    Coder *coder = &((State *)state)->coder;
    int wrong = coder->taken != size;
    *coder = (Coder){0};
    return wrong;
}
