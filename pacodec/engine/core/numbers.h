/* Contexts of channels that hold numbers: an autoencoder's latents, or corrections of colours. Included once for each
 * processor variant.
 *
 * A code is the same as in the last grid, or its bits follow, from the highest, each in the light of those before it.
 */
#include <string.h>

#include "contexts.h"

/* What is known of a number before it is coded. */
typedef struct {
    uint32_t channel, place;
    uint32_t last, earlier;                  /* of the last grid, of the one before */
    uint32_t left, up, up_left, up_right;
    uint32_t under;                          /* the same place in the channel before */
    uint32_t kept;                           /* flags: which of left, up, up right and under are as in the last grid */
    uint32_t label, stays;                   /* beside labels: the label there, and whether it is the last grid's */
    uint32_t planar, moved;                  /* the neighbours continued; the last number, moved as its neighbour was */
} Number;

ALWAYS_INLINE uint32_t code_number(View *view, const Number *x, uint32_t meant)
{
    const uint64_t channel = x->channel, position = channel << 32 | x->place;
    Contexts contexts = {.kind = STAGE_KEPT << 16};
    in_table(view, &contexts, position, 0);
    in_table(view, &contexts, position, x->kept | x->stays << 4);
    in_table(view, &contexts, channel << 8 | x->last, 0);
    in_table(view, &contexts, channel << 16 | x->last << 8 | x->earlier, 0);
    in_table(view, &contexts, channel << 4 | x->kept, 0);
    in_table(view, &contexts, channel << 8 | x->label, x->stays);
    in_table(view, &contexts, (uint64_t)x->last | x->left << 8 | x->up << 16, channel);
    in_table(view, &contexts, (uint64_t)x->last | x->moved << 8 | x->planar << 16, x->kept);
    in_common(view, &contexts, x->kept | x->stays << 4 | (uint32_t)(x->earlier == x->last) << 5);
    in_common(view, &contexts, x->kept | (uint32_t)(x->moved == x->last) << 4 | (uint32_t)(x->planar == x->last) << 5);
    const uint32_t group = least(x->channel, 31);
    Selection selection = {.mixer = {x->kept, 16 + group, 48 + x->stays * 2 + (uint32_t)(x->earlier == x->last)},
                           .final = x->stays * 2 + (uint32_t)(x->earlier == x->last),
                           .correction = {x->kept, 16 + group}};
    if (decide(view, STAGE_KEPT, &contexts, &selection, meant == x->last))
        return x->last;
    uint32_t node = 1;
    for (int bit = 7; bit >= 0; bit--) {
        contexts = (Contexts){.kind = STAGE_LEVEL << 16 | node << 5};
        in_table(view, &contexts, channel, 0);
        in_table(view, &contexts, position, 0);
        in_table(view, &contexts, position, x->last >> 2 | 64);
        in_table(view, &contexts, channel << 8 | x->last, 0);
        in_table(view, &contexts, channel << 16 | x->left >> 2 << 8 | x->up >> 2, 0);
        in_table(view, &contexts, (uint64_t)x->last << 8 | x->left, 0);
        in_table(view, &contexts, channel << 8 | x->under, 0);
        in_table(view, &contexts, (uint64_t)x->last << 8 | x->earlier, 0);
        in_table(view, &contexts, channel << 8 | x->planar, 0);
        in_table(view, &contexts, channel << 8 | x->moved, 0);
        in_table(view, &contexts, channel << 16 | x->label << 8 | x->last, x->stays);
        in_table(view, &contexts, (uint64_t)(x->left >> 3) | x->up >> 3 << 8 | x->up_right >> 3 << 16, x->last >> 3);
        selection = (Selection){.mixer = {node, 256 + (x->channel & 255), 512 + (uint32_t)bit},
                                .final = (uint32_t)bit,
                                .correction = {node, 256 + (x->channel & 255)}};
        node = node << 1 | (uint32_t)decide(view, STAGE_LEVEL, &contexts, &selection, (int)(meant >> bit & 1));
    }
    return node & 255;
}

void CODE_NUMBERS(View *view, uint8_t *grid)
{
    State *state = view->state;
    const uint32_t width = state->width, height = state->height, stride = width + 3;
    const size_t plane = (size_t)(height + 2) * stride, size = plane * state->numbers;
    uint8_t *now = view->levels + state->time % 3 * size;
    const uint8_t *last = view->levels + (state->time + 2) % 3 * size;
    const uint8_t *earlier = view->levels + (state->time + 1) % 3 * size;
    const uint8_t *labels = NULL, *last_labels = NULL;
    if (state->planes) { /* which were coded before, so that the grid is in the history */
        const uint64_t area = state->area;
        labels = view->history + state->time % state->grids * area;
        last_labels = view->history + (state->time + state->grids - 1) % state->grids * area;
    }
    for (uint32_t channel = 0; channel < state->numbers; channel++)
        for (uint32_t row = 0; row < height && !is_over(view); row++)
            for (uint32_t column = 0; column < width; column++) {
                const size_t inside = (size_t)(row + 2) * stride + column + 1, at = channel * plane + inside;
                const uint8_t *n = now + at, *l = last + at;
                Number x = {.channel = channel, .place = row * width + column, .last = *l, .earlier = earlier[at],
                            .left = *(n - 1), .up = *(n - stride), .up_left = *(n - stride - 1),
                            .up_right = *(n - stride + 1)};
                x.kept = (uint32_t)(x.left == *(l - 1)) | (uint32_t)(x.up == *(l - stride)) << 1 |
                         (uint32_t)(x.up_right == *(l - stride + 1)) << 2;
                if (channel) {
                    x.under = *(n - plane);
                    x.kept |= (uint32_t)(x.under == *(l - plane)) << 3;
                }
                if (labels) {
                    const size_t here = (size_t)(row + MARGIN_Y) * state->stride + column + MARGIN_X;
                    x.label = labels[here];
                    x.stays = labels[here] == last_labels[here];
                }
                x.planar = (uint32_t)clamp((int32_t)(x.left + x.up) - (int32_t)x.up_left, 0, 255);
                x.moved = (uint32_t)clamp((int32_t)(x.last + x.left) - *(l - 1), 0, 255);
                uint8_t *code = grid + ((size_t)channel * height + row) * width + column;
                const uint64_t position = view->spent ? coder_position(&state->coder) : 0;
                uint32_t value = code_number(view, &x, view->stream.input ? 0 : *code);
                if (view->spent)
                    spend(view, row, column, position);
                now[at] = (uint8_t)value;
                *code = (uint8_t)value;
            }
}
