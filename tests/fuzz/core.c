/* The C core under libFuzzer: FUZZED is `decode`, `round_trip` or `colour`. See campaign.py for how it is built.
 *
 * A fresh state is kept in a file in memory for each shape of grids, and mapped privately between pages that must not
 * be touched: giving the written pages back makes it fresh again, for a small fraction of what clearing it would take.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "colour.h"
#include "engine.h"

enum { KINDS = 6, SIDES = 8, FRAMES_MOST = 3, PAGE = 4096 };

static const uint32_t KIND[KINDS][2] = {{0, 1}, {0, 2}, {0, 4}, {0, 3}, {1, 1}, {1, 3}}; /* ordinal, channels */
/* Height and width: mostly a few pixels, for speed; copies by vectors need the last. */
static const uint32_t SIDE[SIDES][2] = {{1, 1}, {3, 5}, {1, 9}, {8, 8}, {9, 3}, {4, 17}, {10, 11}, {26, 50}};

static void check(int holds)
{
    if (!holds)
        abort();
}

/* What is left of an input; zeros follow it. */
typedef struct {
    const uint8_t *at;
    size_t left;
} Input;

static uint8_t next(Input *input)
{
    if (!input->left)
        return 0;
    input->left--;
    return *input->at++;
}

typedef struct {
    const uint32_t *kind, *side;
    size_t grid, size, mapped;
    int file;
    uint8_t *memory[2];
} Shape;

static Shape *find_shape(Input *input)
{
    static Shape shapes[KINDS][SIDES];
    uint32_t kind = next(input) % KINDS, side = next(input) % SIDES;
    Shape *shape = &shapes[kind][side];
    if (shape->size)
        return shape;
    shape->kind = KIND[kind];
    shape->side = SIDE[side];
    shape->grid = (size_t)shape->kind[1] * shape->side[0] * shape->side[1];
    shape->size = pac_state_size(shape->kind[0], shape->kind[1], shape->side[0], shape->side[1]);
    shape->mapped = (shape->size + PAGE - 1) / PAGE * PAGE;
    shape->file = memfd_create("state", 0);
    check(!ftruncate(shape->file, (off_t)shape->mapped));
    size_t before = (shape->mapped - shape->size) & ~(size_t)7; /* so that the state ends where the page does */
    uint8_t *made = mmap(NULL, shape->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, shape->file, 0);
    check(made != MAP_FAILED);
    check(!pac_state_init(made + before, shape->kind[0], shape->kind[1], shape->side[0], shape->side[1], NULL, 0));
    munmap(made, shape->mapped);
    for (int i = 0; i < 2; i++) {
        uint8_t *room = mmap(NULL, shape->mapped + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        check(room != MAP_FAILED);
        made = mmap(room + PAGE, shape->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, shape->file, 0);
        check(made != MAP_FAILED);
        shape->memory[i] = made + before;
    }
    return shape;
}

/* One of two states that know nothing; what it held before is gone. */
static void *fresh_state(Shape *shape, int number)
{
    uint8_t *state = shape->memory[number];
    check(!madvise((void *)((uintptr_t)state & ~(uintptr_t)(PAGE - 1)), shape->mapped, MADV_DONTNEED));
    return state;
}

/* Memory that ends where it is said to end. */
static uint8_t *copied(const uint8_t *data, size_t size)
{
    uint8_t *made = malloc(size ? size : 1);
    check(made != NULL);
    if (size)
        memcpy(made, data, size);
    return made;
}

/* Code grids in batches, perhaps with costs, into memory of the size that is promised to be enough; the bytes. */
static size_t encode(void *state, uint8_t *grids, const Shape *shape, uint32_t count, uint32_t step,
                     const uint16_t *costs, uint8_t **coded)
{
    size_t bound = pac_bound(state), size = 0;
    *coded = malloc((count + 1) * bound);
    check(*coded != NULL);
    pac_encode_begin(state);
    for (uint32_t first = 0; first < count; first += step) {
        uint32_t now = count - first < step ? count - first : step;
        uint8_t *out = malloc(now * bound);
        check(out != NULL);
        size_t written = pac_encode(state, grids + first * shape->grid, now, costs, out, now * bound);
        check(written <= now * bound);
        memcpy(*coded + size, out, written);
        size += written;
        free(out);
    }
    size_t written = pac_encode_end(state, *coded + size, bound);
    check(written <= bound);
    size += written;
    *coded = realloc(*coded, size);
    check(*coded != NULL);
    return size;
}

/* Two segments of any bytes, and then grids coded by a state that learned from them. */
void decode(Input input)
{
    Shape *shape = find_shape(&input);
    void *state = fresh_state(shape, 0);
    uint32_t frames = 1 + next(&input) % FRAMES_MOST;
    size_t first = input.left * next(&input) / 256;
    uint8_t *grids = malloc(frames * shape->grid), *coded;
    check(grids != NULL);
    for (int number = 0; number < 2; number++) {
        size_t size = number ? input.left - (first < input.left ? first : input.left) : first;
        size = size < input.left ? size : input.left;
        uint8_t *data = copied(input.at, size);
        input.at += size;
        input.left -= size;
        int wrong = pac_decode_begin(state, data, size);
        for (uint32_t frame = 0; frame < frames && !wrong; frame++)
            wrong = pac_decode(state, data, size, grids + frame * shape->grid, 1);
        if (!wrong)
            pac_decode_end(state, data, size);
        free(data);
    }
    memset(grids, next(&input), frames * shape->grid);
    encode(state, grids, shape, frames, 1, NULL, &coded);
    free(coded);
    free(grids);
}

/* Rectangles, shifts and noise that the input asks for, on each grid after the one before. */
static void paint(Input *input, const Shape *shape, uint8_t *grids, uint32_t frames)
{
    const uint32_t channels = shape->kind[1], height = shape->side[0], width = shape->side[1];
    const size_t plane = (size_t)height * width;
    memset(grids, next(input), frames * shape->grid);
    for (uint32_t frame = 0; frame < frames; frame++) {
        uint8_t *grid = grids + frame * shape->grid;
        if (frame)
            memcpy(grid, grid - shape->grid, shape->grid);
        for (uint32_t strokes = next(input) % 5; strokes; strokes--) {
            uint32_t top = next(input) % height, left = next(input) % width, kind = next(input);
            uint32_t rows = 1 + next(input) % (height - top), columns = 1 + next(input) % (width - left);
            uint32_t value = next(input), channel = next(input) % channels;
            for (uint32_t y = top; y < top + rows; y++)
                for (uint32_t x = left; x < left + columns; x++) {
                    uint8_t *code = grid + channel * plane + y * width + x;
                    if (kind % 4 == 0)
                        *code = (uint8_t)value;
                    else if (kind % 4 == 1)
                        *code = next(input);
                    else if (kind % 4 == 2)
                        *code = (uint8_t)(value + x * kind + y);
                    else if (frame)
                        *code = grid[channel * plane + (y + kind / 4 % 8) % height * width + (x + value % 8) % width];
                }
        }
    }
}

/* Two segments of painted grids come back, whatever the batches are. */
void round_trip(Input input)
{
    static uint16_t costs[256 * 256];
    Shape *shape = find_shape(&input);
    void *encoder = fresh_state(shape, 0), *decoder = fresh_state(shape, 1);
    uint32_t choice = next(&input);
    for (int number = 0; number < 2; number++) {
        uint32_t frames = 1 + next(&input) % FRAMES_MOST, step = 1 + next(&input) % frames;
        uint8_t *grids = malloc(frames * shape->grid), *decoded = malloc(frames * shape->grid), *coded;
        check(grids && decoded);
        paint(&input, shape, grids, frames);
        uint8_t *meant = copied(grids, frames * shape->grid);
        int with_costs = choice >> number & 1;
        if (with_costs)
            for (uint32_t i = 0; i < 256 * 256; i++)
                costs[i] = (uint16_t)(i / 256 == i % 256 ? 0 : (i / 256 ^ i % 256) * choice);
        size_t size = encode(encoder, grids, shape, frames, step, with_costs ? costs : NULL, &coded);
        check(with_costs || !memcmp(meant, grids, frames * shape->grid));
        check(!pac_decode_begin(decoder, coded, size));
        for (uint32_t frame = 0; frame < frames; frame++)
            check(!pac_decode(decoder, coded, size, decoded + frame * shape->grid, 1));
        check(!pac_decode_end(decoder, coded, size));
        check(!memcmp(decoded, grids, frames * shape->grid));
        free(meant);
        free(grids);
        free(decoded);
        free(coded);
    }
}

/* A picture of any fields, whose planes are as large as they say. */
void colour(Input input)
{
    pac_picture picture = {.width = next(&input) | (next(&input) & 7u) << 8, .height = next(&input) % 40};
    picture.depth = next(&input) % 16;
    picture.shift_x = next(&input) % 3;
    picture.shift_y = next(&input) % 3;
    picture.matrix = next(&input) % 12;
    picture.full_range = next(&input) & 1;
    picture.siting_x = next(&input) * 2u;
    picture.siting_y = next(&input) * 2u;
    uint8_t *planes[3];
    for (int i = 0; i < 3; i++) {
        size_t columns = i ? (picture.width + (1u << picture.shift_x) - 1) >> picture.shift_x : picture.width;
        size_t rows = i ? (picture.height + (1u << picture.shift_y) - 1) >> picture.shift_y : picture.height;
        size_t row = columns * (picture.depth > 8 ? 2 : 1), size = row * rows;
        planes[i] = malloc(size ? size : 1);
        check(planes[i] != NULL);
        for (size_t j = 0; j < size; j++)
            planes[i][j] = input.left ? next(&input) : (uint8_t)(j * 37);
        picture.planes[i] = planes[i];
        picture.strides[i] = (int64_t)row;
    }
    uint8_t *rgb = malloc((size_t)picture.width * picture.height * 3 + 1);
    check(rgb != NULL);
    pac_colour_to_rgb(&picture, rgb, (int64_t)picture.width * 3);
    free(rgb);
    for (int i = 0; i < 3; i++)
        free(planes[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FUZZED((Input){data, size});
    return 0;
}
