/* The C core under libFuzzer: FUZZED is one of the functions of an Input. See campaign.py for how it is built.
 *
 * A state that knows nothing is made once for each shape of grids, and copied for each input.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "colour.h"
#include "engine.h"

/* A segment is of at most FRAMES_MOST grids; where it is of more than two, of at most CODES_MOST codes. */
enum { FRAMES_MOST = 6, CODES_MOST = 40 };

typedef struct {
    uint32_t ordinal, channels, height, width;
    size_t grid, blocks, size;
    uint8_t *fresh, *states[2];
} Shape;

/* Mostly a few codes, for speed; blocks have a side of eight. */
static Shape small[] = {
    {0, 1, 1, 1}, {0, 1, 3, 5}, {0, 1, 1, 9}, {0, 1, 8, 8}, {0, 1, 9, 4}, {0, 1, 4, 17}, {0, 2, 1, 1}, {0, 2, 9, 3},
    {0, 2, 2, 9}, {0, 3, 2, 3}, {0, 4, 1, 9}, {0, 4, 3, 2}, {1, 1, 1, 1}, {1, 1, 5, 3},  {1, 3, 2, 3}, {1, 5, 1, 1},
};
/* Enough blocks for an encoder to look for vectors to copy them by. */
static Shape large[] = {{0, 1, 26, 50}, {0, 2, 33, 41}};

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

static void *allocated(size_t size)
{
    void *made = malloc(size ? size : 1);
    check(made != NULL);
    return made;
}

/* Memory that ends where it is said to end. */
static void *copied(const void *data, size_t size)
{
    void *made = allocated(size);
    if (size)
        memcpy(made, data, size);
    return made;
}

static uint8_t *begun_state(const Shape *shape, const uint8_t *start, size_t size)
{
    uint8_t *state = calloc(1, shape->size);
    check(state != NULL);
    check(!pac_state_init(state, shape->ordinal, shape->channels, shape->height, shape->width, start, size));
    return state;
}

static Shape *find_shape(Shape *shapes, size_t count, Input *input)
{
    Shape *shape = &shapes[next(input) % count];
    if (!shape->size) {
        shape->grid = (size_t)shape->channels * shape->height * shape->width;
        shape->blocks = (size_t)((shape->height + 7) / 8) * ((shape->width + 7) / 8);
        shape->size = pac_state_size(shape->ordinal, shape->channels, shape->height, shape->width);
        shape->fresh = begun_state(shape, NULL, 0);
        for (int i = 0; i < 2; i++)
            shape->states[i] = allocated(shape->size);
    }
    return shape;
}

/* One of two states that know nothing; what it held before is gone. */
static void *fresh_state(const Shape *shape, int number)
{
    return memcpy(shape->states[number], shape->fresh, shape->size);
}

static uint32_t frames_of(const Shape *shape, uint8_t asked)
{
    size_t most = CODES_MOST / shape->grid;
    return 1 + asked % (uint32_t)(most < 2 ? 2 : most > FRAMES_MOST ? FRAMES_MOST : most);
}

/* Code grids in batches, perhaps with costs, into memory of the size that is promised to be enough; the bytes. */
static size_t encode(void *state, uint8_t *grids, const Shape *shape, uint32_t count, uint32_t step,
                     const uint16_t *costs, uint8_t **coded)
{
    size_t bound = pac_bound(state), size = 0;
    *coded = allocated((count + 1) * bound);
    pac_encode_begin(state);
    for (uint32_t first = 0; first < count; first += step) {
        uint32_t now = count - first < step ? count - first : step;
        uint8_t *out = allocated(now * bound);
        size_t written = pac_encode(state, grids + first * shape->grid, now, costs, NULL, out, now * bound);
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

/* One segment, a grid at a time or all at once, perhaps told what each grid took. Whether the bytes are wrong. */
static int decode_segment(void *state, const uint8_t *data, size_t size, uint8_t *grids, const Shape *shape,
                          uint32_t count, int singly, int told)
{
    const size_t per_grid = shape->blocks + 1;
    uint32_t step = singly ? 1 : count, *costs = told ? allocated(4 * count * per_grid) : NULL;
    int wrong = pac_decode_begin(state, data, size);
    for (uint32_t first = 0; first < count && !wrong; first += step)
        wrong = pac_decode_costs(state, data, size, grids + first * shape->grid, step,
                                 told ? costs + first * per_grid : NULL);
    if (told && !wrong) {
        uint64_t sum = 0;
        for (size_t i = 0; i < count * per_grid; i++)
            sum += costs[i];
        check(sum <= ((uint64_t)size + 8) << 11);
    }
    free(costs);
    return wrong || pac_decode_end(state, data, size);
}

/* A state that learned from any bytes, and grids to code with it. */
typedef struct {
    Shape *shape;
    uint8_t *state, *grids;
    uint32_t frames, choice;
} Learner;

/* Two segments of any bytes, into grids that are as large as they are promised to be. */
static Learner decode_any(Input *input)
{
    Shape *shape = find_shape(small, sizeof small / sizeof *small, input);
    uint8_t *state = fresh_state(shape, 0);
    uint32_t frames = frames_of(shape, next(input)), choice = next(input);
    uint8_t *grids = allocated(frames * shape->grid);
    size_t first = input->left * next(input) / 256;
    for (int number = 0; number < 2; number++) {
        size_t size = number || first > input->left ? input->left : first;
        uint8_t *data = copied(input->at, size);
        input->at += size;
        input->left -= size;
        decode_segment(state, data, size, grids, shape, frames, choice & 1, choice >> 1 & 1);
        free(data);
    }
    return (Learner){shape, state, grids, frames, choice};
}

/* Grids of one code, by a state. */
static void encode_plain(uint8_t *state, Learner *from)
{
    uint8_t *coded;
    memset(from->grids, (int)from->choice, from->frames * from->shape->grid);
    encode(state, from->grids, from->shape, from->frames, 1, NULL, &coded);
    free(coded);
    free(from->grids);
}

/* Segments of any bytes, and then grids coded by a state that learned from them. */
void decode(Input input)
{
    Learner learner = decode_any(&input);
    encode_plain(learner.state, &learner);
}

/* What a state learned from any bytes is what another one may begin with. */
void start(Input input)
{
    Learner learner = decode_any(&input);
    const Shape *shape = learner.shape;
    size_t size = pac_state_learned(learner.state, NULL, 0);
    uint8_t *learned = allocated(size);
    check(pac_state_learned(learner.state, learned, size) == size);
    uint8_t *begun = begun_state(shape, learned, size), *wrong = calloc(1, shape->size);
    check(wrong != NULL);
    check(pac_state_init(wrong, shape->ordinal, shape->channels, shape->height, shape->width, learned, size - 1));
    encode_plain(begun, &learner);
    free(begun);
    free(wrong);
    free(learned);
}

/* Rectangles, shifts and noise that the input asks for, on each grid after the one before. */
static void paint(Input *input, const Shape *shape, uint8_t *grids, uint32_t frames)
{
    const uint32_t channels = shape->channels, height = shape->height, width = shape->width;
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

/* Costs that grow with the distance of two codes, in one of sixteen measures; made when they are first asked for. */
static const uint16_t *costs_of(uint32_t measure)
{
    static uint16_t *made[16];
    if (!made[measure]) {
        made[measure] = allocated(2 * 256 * 256);
        for (uint32_t i = 0; i < 256 * 256; i++)
            made[measure][i] = (uint16_t)(i / 256 == i % 256 ? 0 : (i / 256 ^ i % 256) * (1 + 16 * measure));
    }
    return made[measure];
}

/* Two segments of painted grids come back, whatever the batches are. */
static void round_trip_of(const Shape *shape, Input input)
{
    uint8_t *encoder = fresh_state(shape, 0), *decoder = fresh_state(shape, 1);
    uint32_t choice = next(&input);
    for (int number = 0; number < 2; number++) {
        uint32_t frames = frames_of(shape, next(&input)), step = 1 + next(&input) % frames;
        uint8_t *grids = allocated(frames * shape->grid), *decoded = allocated(frames * shape->grid), *coded;
        paint(&input, shape, grids, frames);
        uint8_t *meant = copied(grids, frames * shape->grid);
        const uint16_t *costs = choice >> number & 1 ? costs_of(choice >> 4) : NULL;
        size_t size = encode(encoder, grids, shape, frames, step, costs, &coded);
        check(costs || !memcmp(meant, grids, frames * shape->grid));
        check(!decode_segment(decoder, coded, size, decoded, shape, frames, choice >> 2 & 1, choice >> 3 & 1));
        check(!memcmp(decoded, grids, frames * shape->grid));
        free(meant);
        free(grids);
        free(decoded);
        free(coded);
    }
}

void round_trip(Input input)
{
    const Shape *shape = find_shape(small, sizeof small / sizeof *small, &input);
    round_trip_of(shape, input);
}

/* Of grids that an encoder looks for vectors in. */
void round_trip_large(Input input)
{
    const Shape *shape = find_shape(large, sizeof large / sizeof *large, &input);
    round_trip_of(shape, input);
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
        planes[i] = allocated(size);
        for (size_t j = 0; j < size; j++)
            planes[i][j] = input.left ? next(&input) : (uint8_t)(j * 37);
        picture.planes[i] = planes[i];
        picture.strides[i] = (int64_t)row;
    }
    uint8_t *rgb = allocated((size_t)picture.width * picture.height * 3);
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
