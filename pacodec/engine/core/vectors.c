/* Scrolling, camera motion and moved windows: by which vectors are blocks of a grid copies of places in the last one?
 * Only an encoder asks.
 *
 * One row of eight pixels of each changed block is entered in a hash table; then every place of the last grid is
 * looked up in it, and each find is a vote for the vector between the two.
 */
#include <string.h>

#include "state.h"

enum {
    ROW_BITS = 12, VOTE_BITS = 10,
    ENOUGH_BLOCKS = 12, /* changed, for a search to be worth its time */
    ENOUGH_VOTES = 32,
    ROW = 3             /* of a block, that is entered */
};

typedef struct {
    uint64_t pixels;
    int32_t y, x;
} Row;

typedef struct {
    int32_t y, x;
    uint32_t votes;
} Vote;

static int is_flat(uint64_t pixels)
{
    return pixels == (pixels & 255) * 0x0101010101010101u;
}

static void vote(Vote *votes, int32_t y, int32_t x)
{
    Vote *v = votes + place(mix((uint32_t)y, (uint32_t)x) * 0x9E3779B97F4A7C15u, VOTE_BITS);
    if (!v->votes)
        *v = (Vote){y, x, 0};
    if (v->y == y && v->x == x)
        v->votes++;
}

uint32_t find_vectors(const View *view, const uint8_t *grid, const uint8_t *last, int32_t vectors[VECTORS_MOST][2])
{
    const State *state = view->state;
    const uint32_t width = state->width, height = state->height, stride = state->stride;
    Row rows[1 << ROW_BITS];
    Vote votes[1 << VOTE_BITS];
    uint32_t entered = 0, count = 0;
    if (state->blank || width < BLOCK || height < BLOCK)
        return 0;
    memset(rows, 0, sizeof rows);
    memset(votes, 0, sizeof votes);
    for (uint32_t y = ROW; y + BLOCK - ROW <= height; y += BLOCK)
        for (uint32_t x = 0; x + BLOCK <= width; x += BLOCK) {
            uint64_t pixels = load64(grid + (size_t)y * width + x);
            if (is_flat(pixels) || pixels == load64(last + (size_t)(y + MARGIN_Y) * stride + x + MARGIN_X))
                continue;
            rows[place(mix(pixels, 0) * 0x9E3779B97F4A7C15u, ROW_BITS)] = (Row){pixels, (int32_t)y, (int32_t)x};
            entered++;
        }
    if (entered < ENOUGH_BLOCKS)
        return 0;
    for (uint32_t y = 0; y < height; y++) {
        const uint8_t *line = last + (size_t)(y + MARGIN_Y) * stride + MARGIN_X;
        for (uint32_t x = 0; x + BLOCK <= width; x++) {
            uint64_t pixels = load64(line + x);
            const Row *row = rows + place(mix(pixels, 0) * 0x9E3779B97F4A7C15u, ROW_BITS);
            if (row->pixels == pixels && pixels && (row->y != (int32_t)y || row->x != (int32_t)x))
                vote(votes, (int32_t)y - row->y, (int32_t)x - row->x);
        }
    }
    while (count < VECTORS_MOST) {
        Vote *best = votes;
        for (Vote *v = votes; v < votes + (1 << VOTE_BITS); v++)
            if (v->votes > best->votes)
                best = v;
        if (best->votes < ENOUGH_VOTES)
            break;
        vectors[count][0] = best->y;
        vectors[count++][1] = best->x;
        best->votes = 0;
    }
    return count;
}
