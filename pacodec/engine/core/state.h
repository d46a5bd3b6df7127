/* What a state holds and where. Offsets are in bytes from its start; a View has them as pointers during a call. */
#ifndef PACODEC_STATE_H
#define PACODEC_STATE_H

#include "mixing.h"

enum {
    BLOCK = 8,                 /* side of a block of pixels */
    MARGIN_X = 4, MARGIN_Y = 6,/* pixels around a stored grid that hold 0 */
    GUARD = 3,                 /* rows before and behind the history that templates may reach into */
    SIDE_MOST = 16384,
    HISTORY_BYTES = 40 << 20,  /* of grids that are remembered, in each plane */
    GRIDS_LEAST = 4, GRIDS_MOST = 4096,
    COMMON_BITS = 16,          /* of slots for contexts without colours */
    MATCH_BITS = 18, MATCHES = 2,
    SUCCESSOR_BITS = 18, SUCCESSORS = 4,
    COLOURS = 256,
    SPAN_BEGINS = 1 << 15,
    VECTORS_MOST = 3           /* by which blocks of one grid can be copied */
};

enum {
    STAGE_BLOCK, STAGE_COPY, STAGE_SAME, STAGE_QUIET, STAGE_CANDIDATE, STAGE_BITS, STAGE_SHADE, STAGE_KEPT, STAGE_LEVEL,
    STAGES,
};

/* What is known of a block of pixels. */
typedef struct {
    uint8_t changed;   /* in the grid being coded */
    uint8_t before;    /* in the last grid */
    uint8_t age;       /* grids since the last change, at most 255 */
    uint8_t period;    /* the age that it had at its last change */
    uint8_t history;   /* of the last eight grids, a bit each */
    uint8_t amount;    /* class of how many pixels changed in the last grid */
    uint8_t count;     /* pixels changed in this grid so far, at most 255 */
    uint8_t copied;    /* 0, or 1 + the number of the vector that it was copied by */
} Block;

typedef struct {
    uint32_t ordinal, channels, height, width;
    uint32_t planes;           /* 1, or 2 where labels have two bytes; 0 for ordinal grids */
    uint32_t numbers;          /* channels that are coded as numbers */
    uint32_t stride, area;     /* of a stored plane, in pixels */
    uint32_t grids;            /* that the history has room for */
    uint32_t rows, columns;    /* of blocks */
    uint32_t table_bits;
    uint32_t time;             /* grids so far, over all segments */
    uint32_t beginning;        /* 1 before the first grid of a segment */
    uint32_t blank;            /* 1 while a grid is coded after none */
    int32_t last_hit;          /* distance of the last match that hit and was no standing still */
    uint32_t mean_change, mean_rest; /* cost of a changed pixel, and of one that the first candidate missed; 1/4096 bit */
    uint32_t learned_words;
    uint64_t learned, table, matches, successors, latest, history, distances, runs, changes, blocks, levels, size;
    Coder coder;
    Stage stages[STAGES];
    Tables tables;
} State;

typedef struct {
    State *state;
    const Tables *tables;
    uint32_t *learned;
    Slot *common, *table;
    uint32_t *matches, *successors, *latest;
    uint8_t *history;          /* first pixel of the first remembered grid, margins included */
    uint64_t plane;            /* bytes from a pixel's first byte in the history to its second */
    int32_t *distances;        /* of what each pixel was predicted from, back in the history */
    uint8_t *runs;             /* pixels in a row that such predictions hit */
    uint32_t *changes;         /* time of each pixel's last change */
    Block *blocks;
    uint8_t *levels;           /* channels that are numbers: this grid, the last and the one before */
    const uint16_t *costs;
    const uint16_t *spans;     /* of the grid being coded, or NULL */
    uint32_t *spent;           /* NULL, or for each block what it has taken of this grid, in 1/256 bit */
    Stream stream;
    Decision decision;
} View;

/* Enter what was taken since `from`, a position of the coder, as a block's. Returns the position now. */
static inline uint64_t spend(const View *view, uint32_t row, uint32_t column, uint64_t from)
{
    uint64_t now = coder_position(&view->state->coder);
    view->spent[(row / BLOCK) * view->state->columns + column / BLOCK] += (uint32_t)(now - from);
    return now;
}

/* One grid of labels, or the channels of a grid that are numbers, in whichever direction the stream goes. */
typedef void CodeGrid(View *view, uint8_t *grid);

CodeGrid code_labels_baseline, code_numbers_baseline;
#if defined(__x86_64__) && !defined(PACODEC_BASELINE)
#define PACODEC_AVX2 1
CodeGrid code_labels_avx2, code_numbers_avx2;
#endif

/* Vectors (rows, columns) by which many changed blocks of `grid` are copies of places in the last grid; their count. */
uint32_t find_vectors(const View *view, const uint8_t *grid, const uint8_t *last, int32_t vectors[VECTORS_MOST][2]);

#endif
