/* Runs vectors through a build of the core, and prints what came of each: `driver VECTORS`.
 *
 * The file holds integers of 32 bits, little-endian: how many vectors there are, and the bytes of the general start,
 * which follow. A vector is `ordinal`, channels, height, width, grids that are coded at a time (0: all), 1 where costs
 * follow, 256 * 256 of 16 bits, and the number of segments; a segment is its number of grids, and those. For each
 * vector a line says the CRC-32 of what the encoder wrote, of the grids that a decoder made of it, and of what the
 * states of both have learned. A last line is that of colour conversion.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "colour.h"
#include "engine.h"

enum { COSTS = 256 * 256 };

static const uint8_t *at, *end;

static uint32_t crc32(uint32_t crc, const uint8_t *data, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static void *memory(size_t size)
{
    void *made = calloc(size ? size : 1, 1);
    if (!made)
        abort();
    return made;
}

static const uint8_t *take(size_t size)
{
    const uint8_t *taken = at;
    if (size > (size_t)(end - at))
        abort();
    at += size;
    return taken;
}

static uint32_t number(void)
{
    const uint8_t *p = take(4);
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t learned_crc(void *state)
{
    size_t size = pac_state_learned(state, NULL, 0);
    uint8_t *out = memory(size);
    pac_state_learned(state, out, size);
    uint32_t crc = crc32(0, out, size);
    free(out);
    return crc;
}

static void run_vector(const uint8_t *start, size_t start_size)
{
    uint32_t shape[4];
    for (int i = 0; i < 4; i++)
        shape[i] = number();
    uint32_t step = number(), with_costs = number();
    uint16_t *costs = NULL;
    if (with_costs) {
        const uint8_t *stored = take(2 * COSTS);
        costs = memory(2 * COSTS);
        for (int i = 0; i < COSTS; i++)
            costs[i] = (uint16_t)(stored[2 * i] | stored[2 * i + 1] << 8);
    }
    size_t size = pac_state_size(shape[0], shape[1], shape[2], shape[3]);
    size_t grid = (size_t)shape[1] * shape[2] * shape[3];
    void *encoder = memory(size), *decoder = memory(size);
    uint32_t coded_crc = 0, grids_crc = 0, wrong = 0;
    wrong |= (uint32_t)pac_state_init(encoder, shape[0], shape[1], shape[2], shape[3], start, start_size);
    wrong |= (uint32_t)pac_state_init(decoder, shape[0], shape[1], shape[2], shape[3], start, start_size);
    for (uint32_t segments = number(); segments; segments--) {
        uint32_t count = number(), batch = step ? step : count;
        uint8_t *grids = memory(count * grid), *decoded = memory(count * grid);
        memcpy(grids, take(count * grid), count * grid);
        size_t capacity = (count + 1) * pac_bound(encoder), written = 0;
        uint8_t *out = memory(capacity);
        pac_encode_begin(encoder);
        for (uint32_t first = 0; first < count; first += batch) {
            uint32_t now = count - first < batch ? count - first : batch;
            written += pac_encode(encoder, grids + first * grid, now, costs, NULL, out + written, capacity - written);
        }
        written += pac_encode_end(encoder, out + written, capacity - written);
        out = realloc(out, written); /* so that a sanitizer sees what is read behind it */
        if (!out)
            abort();
        wrong |= (uint32_t)pac_decode_begin(decoder, out, written);
        for (uint32_t first = 0; first < count; first += batch) {
            uint32_t now = count - first < batch ? count - first : batch;
            wrong |= (uint32_t)pac_decode(decoder, out, written, decoded + first * grid, now);
        }
        wrong |= (uint32_t)pac_decode_end(decoder, out, written);
        wrong |= (uint32_t)(memcmp(grids, decoded, count * grid) != 0);
        coded_crc = crc32(coded_crc, out, written);
        grids_crc = crc32(grids_crc, decoded, count * grid);
        free(grids);
        free(decoded);
        free(out);
    }
    printf("%08x %08x %08x %08x%s\n", coded_crc, grids_crc, learned_crc(encoder), learned_crc(decoder), wrong ? " wrong" : "");
    free(encoder);
    free(decoder);
    free(costs);
}

/* Pictures of every way, depth and matrix, of noise: the CRC-32 of all that they become. */
static void run_colour(void)
{
    static const uint32_t sides[][2] = {{34, 6}, {33, 6}, {34, 5}, {1, 1}, {1026, 3}};
    static const uint32_t depths[] = {8, 10, 12, 14}, matrices[] = {1, 4, 5, 7, 9}, sitings[] = {0, 128, 256};
    uint64_t noise = 1;
    uint32_t crc = 0;
    for (uint32_t way = 0; way < 5 * 4 * 5 * 3 * 2 * 4; way++) {
        uint32_t width = sides[way % 5][0], height = sides[way % 5][1];
        pac_picture picture = {.width = width, .height = height, .depth = depths[way / 5 % 4],
                               .shift_x = way / 20 % 2, .shift_y = way / 40 % 2, .matrix = matrices[way / 80 % 5],
                               .siting_x = sitings[way / 400 % 3], .siting_y = sitings[(way / 400 + 1) % 3],
                               .full_range = way / 1200 % 2};
        uint16_t *planes[3];
        for (int i = 0; i < 3; i++) {
            picture.strides[i] = (int64_t)(picture.depth > 8 ? 2 : 1) * width;
            planes[i] = memory(2 * (size_t)width * height);
            for (size_t j = 0; j < (size_t)width * height; j++) {
                noise = noise * 6364136223846793005u + 1442695040888963407u;
                if (picture.depth > 8)
                    planes[i][j] = (uint16_t)(noise >> 48);
                else
                    ((uint8_t *)planes[i])[j] = (uint8_t)(noise >> 56);
            }
            picture.planes[i] = planes[i];
        }
        uint8_t *rgb = memory((size_t)3 * width * height);
        if (pac_colour_to_rgb(&picture, rgb, (int64_t)3 * width))
            abort();
        crc = crc32(crc, rgb, (size_t)3 * width * height);
        free(rgb);
        for (int i = 0; i < 3; i++)
            free(planes[i]);
    }
    printf("%08x\n", crc);
}

int main(int count, char **arguments)
{
    FILE *file = count == 2 ? fopen(arguments[1], "rb") : NULL;
    if (!file || fseek(file, 0, SEEK_END))
        return 1;
    size_t size = (size_t)ftell(file);
    uint8_t *data = memory(size);
    rewind(file);
    if (fread(data, 1, size, file) != size)
        return 1;
    fclose(file);
    at = data;
    end = data + size;
    uint32_t vectors = number(), start_size = number();
    const uint8_t *start = take(start_size);
    for (uint32_t i = 0; i < vectors; i++)
        run_vector(start, start_size);
    run_colour();
    free(data);
    return 0;
}
