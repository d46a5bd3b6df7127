/* Decoded Y'CbCr pictures to RGB, in integers, with the levels that FFmpeg's default conversion shows.

   swscale has three ways from Y'CbCr to 24 bits, chosen by the format and the size; what is shown differs between them
   by up to 30 dB at coloured edges, so all three are here:
   - REPEATED: 8 bits, chroma halved horizontally, an even height. A chroma sample colours all the pixels around it.
   - PAIRED: chroma halved horizontally otherwise, at an even width. Chroma is interpolated between rows, and two
     neighbours in a row share it; everything is rounded to 8 bits before the matrix.
   - SINGLE: 4:4:4, and any odd width. Chroma is interpolated to every pixel and keeps 17 bits up to the matrix.
   Right shifts of negative numbers are arithmetic, as every compiler that builds this has them. */
#include "colour.h"

enum { REPEATED, PAIRED, SINGLE };

/* Pixels of a row that are worked on at a time: even, and few enough for the fastest cache. */
#define TILE 512

/* What each matrix adds per unit of chroma, in 1/65536 for limited range: Cr to red, Cb to blue, Cb and Cr from green. */
static const int32_t MATRICES[][5] = {
    {1, 117489, 138438, 13975, 34925}, /* BT.709 */
    {4, 104448, 132798, 24759, 53109}, /* FCC */
    {7, 117579, 136230, 16907, 35559}, /* SMPTE 240M */
    {9, 110013, 140363, 12277, 42626}, /* BT.2020, non-constant luminance */
    {10, 110013, 140363, 12277, 42626},
    {0, 104597, 132201, 25675, 53279}, /* BT.601, and whatever is not listed */
};

typedef struct {
    int32_t luma, red_v, blue_u, green_u, green_v; /* 16.16 */
    int32_t black;                                 /* 8-bit luma level of black */
} matrix;

/* Where an interpolated sample lies: it is (first * weight + second * (one - weight)) / one. */
typedef struct {
    uint32_t first, second;
    int32_t weight;
} tap;

/* A scale from count samples to as many as asked for: output i lies at start + i * step, in 1/131072 samples. */
typedef struct {
    int64_t start, step;
    uint32_t count;
} scale;

static matrix find_matrix(uint32_t code, uint32_t full_range)
{
    size_t i = 0;
    const size_t last = sizeof MATRICES / sizeof MATRICES[0] - 1;
    while (i < last && (uint32_t)MATRICES[i][0] != code)
        i++;
    const int32_t *row = MATRICES[i];
    matrix m = {(65536 * 255) / 219, row[1], row[2], -row[3], -row[4], 16};
    if (full_range) {
        m.luma = 65536;
        m.red_v = m.red_v * 224 / 255;
        m.blue_u = m.blue_u * 224 / 255;
        m.green_u = m.green_u * 224 / 255;
        m.green_v = m.green_v * 224 / 255;
        m.black = 0;
    }
    return m;
}

static scale make_scale(uint32_t from, uint32_t to, uint32_t from_shift, uint32_t siting)
{
    const int64_t step = (((int64_t)from << 16) + (to >> 1)) / to;
    /* Positions in 1/128 samples: a sample made is centred at 128, a stored and halved one where its siting says. */
    const int64_t source = from_shift ? (siting + 128) >> 1 : 128;
    scale s = {step - ((source * 65536) >> 7), 2 * step, from};
    return s;
}

static tap locate(const scale *s, size_t i, int32_t one)
{
    const int64_t position = s->start + (int64_t)i * s->step;
    const int64_t index = position >> 17, last = (int64_t)s->count - 1;
    const int64_t first = index < 0 ? 0 : index > last ? last : index;
    const int64_t second = index + 1 < 0 ? 0 : index + 1 > last ? last : index + 1;
    tap t = {(uint32_t)first, (uint32_t)second, one};
    if (first != second)
        t.weight = (int32_t)(((131072 - (position & 131071)) * one + 65536) >> 17);
    return t;
}

static uint8_t clip8(int32_t value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static const uint8_t *row_of(const pac_picture *p, int plane, uint32_t y)
{
    return (const uint8_t *)p->planes[plane] + (int64_t)y * p->strides[plane];
}

static int32_t sample(const uint8_t *row, size_t x, uint32_t depth)
{
    return depth == 8 ? row[x] : ((const uint16_t *)(const void *)row)[x] & ((1 << depth) - 1);
}

/* count samples of a row from start on, scaled to 15 bits. */
static void load15(const uint8_t *row, size_t start, size_t count, uint32_t depth, int32_t *out)
{
    if (depth == 8)
        for (size_t i = 0; i < count; i++)
            out[i] = row[start + i] << 7;
    else
        for (size_t i = 0; i < count; i++)
            out[i] = (((const uint16_t *)(const void *)row)[start + i] & ((1 << depth) - 1)) << (15 - depth);
}

/* Write count pixels of three planes as RGB; returns where the next one goes. */
static uint8_t *interleave(uint8_t rgb[3][TILE], size_t count, uint8_t *out)
{
    for (size_t i = 0; i < count; i++, out += 3) {
        out[0] = rgb[0][i];
        out[1] = rgb[1][i];
        out[2] = rgb[2][i];
    }
    return out;
}

/* The upper 16 bits of a product, which vector units have an instruction for. */
static int16_t product_high(int16_t a, int16_t b)
{
    return (int16_t)((a * b) >> 16);
}

/* One row of 8-bit samples, every chroma sample held over two pixels. */
static void repeated_row(const pac_picture *p, const matrix *m, uint32_t y, uint8_t *out)
{
    const uint8_t *luma = row_of(p, 0, y);
    const uint8_t *u = row_of(p, 1, y >> p->shift_y), *v = row_of(p, 2, y >> p->shift_y);
    const int16_t scale_y = (int16_t)((m->luma + 4) >> 3), black = (int16_t)(m->black * 8);
    const int16_t red = (int16_t)((m->red_v + 4) >> 3), blue = (int16_t)((m->blue_u + 4) >> 3);
    const int16_t green_u = (int16_t)((m->green_u + 4) >> 3), green_v = (int16_t)((m->green_v + 4) >> 3);
    int16_t add[3][TILE];
    uint8_t rgb[3][TILE];
    for (size_t start = 0; start < p->width; start += TILE) {
        const size_t count = p->width - start < TILE ? p->width - start : TILE;
        for (size_t i = 0; i < (count + 1) / 2; i++) {
            const int16_t a = (int16_t)(u[start / 2 + i] * 8 - 1024), b = (int16_t)(v[start / 2 + i] * 8 - 1024);
            add[0][2 * i] = add[0][2 * i + 1] = product_high(b, red);
            add[1][2 * i] = add[1][2 * i + 1] = (int16_t)(product_high(a, green_u) + product_high(b, green_v));
            add[2][2 * i] = add[2][2 * i + 1] = product_high(a, blue);
        }
        for (size_t i = 0; i < count; i++) {
            const int16_t level = product_high((int16_t)(luma[start + i] * 8 - black), scale_y);
            rgb[0][i] = clip8(level + add[0][i]);
            rgb[1][i] = clip8(level + add[1][i]);
            rgb[2][i] = clip8(level + add[2][i]);
        }
        out = interleave(rgb, count, out);
    }
}

/* count outputs of a chroma row from start on, interpolated across, in 15 bits. */
static void across15(const uint8_t *row, const scale *across, size_t start, size_t count, uint32_t depth,
                     int32_t *out)
{
    if (!across->start && across->step == 131072) {
        load15(row, start, count, depth, out);
        return;
    }
    const uint32_t drop = depth == 8 ? 7 : depth - 1;
    for (size_t i = 0; i < count; i++) {
        const tap t = locate(across, start + i, 16384);
        out[i] = (sample(row, t.first, depth) * t.weight + sample(row, t.second, depth) * (16384 - t.weight)) >> drop;
    }
}

/* Chroma of count outputs from start on, interpolated across and then down, in 27 bits. */
static void chroma27(const pac_picture *p, int plane, const scale *across, const tap *down, size_t start,
                     size_t count, int32_t *out)
{
    int32_t lower[TILE];
    across15(row_of(p, plane, down->first), across, start, count, p->depth, out);
    across15(row_of(p, plane, down->second), across, start, count, p->depth, lower);
    for (size_t i = 0; i < count; i++)
        out[i] = out[i] * down->weight + lower[i] * (4096 - down->weight);
}

/* What a rounded 8-bit chroma sample adds to luma, before luma is scaled. */
static int32_t chroma_offset(int32_t level, int32_t coefficient)
{
    return ((level * coefficient) >> 16) - (coefficient >> 9);
}

/* A coefficient of chroma in units of scaled luma, 16.16. */
static int32_t per_luma(int32_t coefficient, int32_t luma)
{
    return (int32_t)(((int64_t)coefficient * 65536 + 0x8000) / luma);
}

static void paired_row(const pac_picture *p, const matrix *m, const scale *across, const tap *down, uint32_t y,
                       uint8_t *out)
{
    const uint8_t *luma = row_of(p, 0, y);
    const int32_t red = per_luma(m->red_v, m->luma), blue = per_luma(m->blue_u, m->luma);
    const int32_t green_u = per_luma(m->green_u, m->luma), green_v = per_luma(m->green_v, m->luma);
    /* swscale's table of luma starts 384 levels below black in full range, 326 steps in limited range. */
    const int32_t base = (m->black ? (384 << 16) + (16 << 16) - 326 * m->luma : 0) - 0x8000;
    int32_t u[TILE / 2], v[TILE / 2], level[TILE], add[3][TILE];
    uint8_t rgb[3][TILE];
    for (size_t start = 0; start < p->width; start += TILE) {
        const size_t count = p->width - start < TILE ? p->width - start : TILE;
        load15(luma, start, count, p->depth, level);
        chroma27(p, 1, across, down, start / 2, count / 2, u);
        chroma27(p, 2, across, down, start / 2, count / 2, v);
        for (size_t i = 0; i < count / 2; i++) {
            const int32_t a = clip8((u[i] + (1 << 18)) >> 19), b = clip8((v[i] + (1 << 18)) >> 19);
            add[0][2 * i] = add[0][2 * i + 1] = chroma_offset(b, red);
            add[1][2 * i] = add[1][2 * i + 1] = chroma_offset(a, green_u) + chroma_offset(b, green_v);
            add[2][2 * i] = add[2][2 * i + 1] = chroma_offset(a, blue);
        }
        for (size_t i = 0; i < count; i++) {
            const int32_t rounded = (level[i] + 64) >> 7;
            rgb[0][i] = clip8((m->luma * (rounded + add[0][i]) - base) >> 16);
            rgb[1][i] = clip8((m->luma * (rounded + add[1][i]) - base) >> 16);
            rgb[2][i] = clip8((m->luma * (rounded + add[2][i]) - base) >> 16);
        }
        out = interleave(rgb, count, out);
    }
}

/* A level of 30 bits to one of 8. Colours far outside RGB overflow as they do in swscale, so that both show the same. */
static uint8_t clip30(uint32_t value)
{
    return clip8((int32_t)value >> 22);
}

static void single_row(const pac_picture *p, const matrix *m, const scale *across, const tap *down, uint32_t y,
                       uint8_t *out)
{
    const uint8_t *luma = row_of(p, 0, y);
    const int32_t scale_y = (m->luma + 4) >> 3, red = (m->red_v + 4) >> 3, blue = (m->blue_u + 4) >> 3;
    const int32_t green_u = (m->green_u + 4) >> 3, green_v = (m->green_v + 4) >> 3;
    const int32_t black = m->black << 9;
    int32_t u[TILE], v[TILE], level[TILE];
    uint8_t rgb[3][TILE];
    for (size_t start = 0; start < p->width; start += TILE) {
        const size_t count = p->width - start < TILE ? p->width - start : TILE;
        load15(luma, start, count, p->depth, level);
        chroma27(p, 1, across, down, start, count, u);
        chroma27(p, 2, across, down, start, count, v);
        for (size_t i = 0; i < count; i++) {
            const int32_t a = (u[i] - (128 << 19)) >> 10, b = (v[i] - (128 << 19)) >> 10;
            const uint32_t base = (uint32_t)((level[i] * 4 - black) * scale_y) + (1u << 21);
            rgb[0][i] = clip30(base + (uint32_t)(b * red));
            rgb[1][i] = clip30(base + (uint32_t)(a * green_u) + (uint32_t)(b * green_v));
            rgb[2][i] = clip30(base + (uint32_t)(a * blue));
        }
        out = interleave(rgb, count, out);
    }
}

int pac_colour_to_rgb(const pac_picture *p, uint8_t *rgb, int64_t stride)
{
    if (!p->width || !p->height || p->width > 1u << 16 || p->height > 1u << 16 || p->depth < 8 || p->depth > 14 ||
        p->shift_x > 1 || p->shift_y > 1 || p->siting_x > 256 || p->siting_y > 256)
        return -1;
    const matrix m = find_matrix(p->matrix, p->full_range);
    const uint32_t odd = p->width & 1, columns = (p->width + p->shift_x) >> p->shift_x;
    const uint32_t rows = (p->height + p->shift_y) >> p->shift_y;
    const int way = p->shift_x && p->depth == 8 && !(p->height & 1) ? REPEATED
                    : odd || (!p->shift_x && !p->shift_y)           ? SINGLE
                                                                    : PAIRED;
    const scale across = make_scale(columns, way == PAIRED ? p->width / 2 : p->width, p->shift_x, p->siting_x);
    const scale along = make_scale(rows, p->height, p->shift_y, p->siting_y);
    for (uint32_t y = 0; y < p->height; y++) {
        uint8_t *out = rgb + (int64_t)y * stride;
        const tap down = locate(&along, y, 4096);
        if (way == REPEATED)
            repeated_row(p, &m, y, out);
        else if (way == PAIRED)
            paired_row(p, &m, &across, &down, y, out);
        else
            single_row(p, &m, &across, &down, y, out);
    }
    return 0;
}
