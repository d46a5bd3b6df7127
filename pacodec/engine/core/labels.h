/* Contexts of label grids: which codes are foreseen, and from what. Included once for each processor variant.
 *
 * A grid is coded in two passes. First each block of 8 x 8 is changed or not against the last grid, and a changed one
 * may be a copy of a place in it. Then the pixels of the other changed blocks follow, row by row over the whole grid.
 * A pixel is the same as in the last grid, or one of up to ten candidates, or spelled, bit by bit.
 *
 * Candidates come from matches. A match is a distance back in the history of grids: what followed there when the
 * surroundings were the same may follow here. Distances are inherited from the neighbours, from the same pixel of the
 * last grid and from the last match that hit, found by hashing the surroundings, and searched for nearby in the last
 * grid; the one whose surroundings are most alike comes first.
 */
#include <string.h>

#include "contexts.h"

enum { CANDIDATES = 10, NO_LABEL = -1, MOST_DISTANCES = 10, WINDOW = 3 };

/* The surroundings of a pixel that are compared: four pixels to its left, seven above, three above these. */
typedef struct {
    uint64_t above, left, over;
} Template;

ALWAYS_INLINE Template template_at(const uint8_t *p, uint32_t stride)
{
    Template t = {load64(p - stride - 3) & 0x00FFFFFFFFFFFFFFu, load32(p - 4), load32(p - 2 * stride - 2) >> 8};
    return t;
}

/* How alike the surroundings are: 24 where all are equal; nearer pixels count more. */
ALWAYS_INLINE int32_t likeness(const Template *t, const uint8_t *q, uint32_t stride)
{
    uint64_t above = zero_bytes((load64(q - stride - 3) ^ t->above) << 8);
    uint32_t left = load32(q - 4) ^ (uint32_t)t->left;
    uint64_t rest = zero_bytes((uint64_t)left << 32 | (load32(q - 2 * stride - 2) >> 8 ^ (uint32_t)t->over) << 8);
    /* Multiplying bytes of 0 and 1 by bytes of weights leaves the weighted sum in the highest byte. */
    uint64_t sum = (above & ~(uint64_t)0xFF) * 0x0001010204020101u + (rest & ~(uint64_t)0xFF) * 0x0001020101010204u;
    return (int32_t)(sum >> 56);
}

/* What is known of a pixel before it is coded. Labels are first byte | second byte << 8. */
typedef struct {
    uint32_t p;                /* place in a stored plane */
    uint8_t *here;             /* the first byte, in the history */
    uint32_t still, earlier;   /* the label in the last grid, in the one before */
    uint32_t left, up, up_left, up_right;
    uint32_t differing, farther, moving; /* flags: which neighbours changed; what moved in the last grid */
    uint32_t age;              /* grids since the last change, at most 15 */
    uint64_t last3, last5, earlier3, near4, near8, wide; /* hashes of neighbourhoods */
    uint64_t last_near, last_near_wide;
    int32_t match, second, nearby; /* labels; NO_LABEL where there is none */
    uint32_t likeness, second_likeness, nearby_likeness; /* 0 to 15 */
    int32_t distance;
    uint32_t run, shift;       /* class of the match's run of hits, and of its direction */
} Pixel;

ALWAYS_INLINE uint32_t label_at(const View *view, const uint8_t *p, const int planes)
{
    return planes == 2 ? p[0] | (uint32_t)p[view->plane] << 8 : p[0];
}

ALWAYS_INLINE uint32_t likeness_class(int32_t value)
{
    return value < 0 ? 0 : (uint32_t)value * 15 / 24;
}

ALWAYS_INLINE uint32_t run_class(uint32_t run)
{
    return run < 2 ? run : run < 4 ? 2 : run < 8 ? 3 : run < 16 ? 4 : run < 32 ? 5 : 6;
}

/* Direction of a distance: which of the 7 x 7 places around the pixel in the last grid; 49 farther back, 50 this grid. */
ALWAYS_INLINE uint32_t shift_class(const State *state, int32_t distance)
{
    int32_t stride = (int32_t)state->stride, offset = distance - (int32_t)state->area;
    int32_t rows = (offset + WINDOW * stride + stride / 2) / stride - WINDOW, columns = offset - rows * stride;
    if (rows >= -WINDOW && rows <= WINDOW && columns >= -WINDOW && columns <= WINDOW)
        return (uint32_t)((rows + WINDOW) * 7 + columns + WINDOW);
    return offset < 0 ? 50 : 49;
}

typedef struct {
    int32_t distances[MOST_DISTANCES];
    uint32_t runs[MOST_DISTANCES], count;
} Distances;

/* A distance that is not there yet, if what it points at is remembered and was coded before. */
ALWAYS_INLINE void add_distance(const State *state, Distances *d, int32_t distance, uint32_t run)
{
    if (distance <= 0 || distance >= (int32_t)((state->grids - 1) * state->area))
        return;
    for (uint32_t i = 0; i < d->count; i++)
        if (d->distances[i] == distance)
            return;
    d->distances[d->count] = distance;
    d->runs[d->count++] = run;
}

/* The distance to where the surroundings of that hash were last seen; this place takes its entry. */
ALWAYS_INLINE int32_t lookup(const State *state, uint32_t *entry, uint32_t position)
{
    uint32_t found = *entry;
    *entry = position + 1;
    if (!found)
        return 0;
    int32_t distance = (int32_t)(position - (found - 1));
    return distance <= 0 ? distance + (int32_t)(state->grids * state->area) : distance;
}

/* The matches of a pixel: fills in the last fields of `x`. */
ALWAYS_INLINE void find_matches(View *view, Pixel *x, const uint8_t *last, const int planes)
{
    State *state = view->state;
    const uint32_t stride = state->stride, total = state->grids * state->area;
    const uint32_t position = (uint32_t)(x->here - view->history);
    const int32_t *distances = view->distances + x->p;
    const uint8_t *runs = view->runs + x->p;
    const Template around = template_at(x->here, stride);
    Distances found = {.count = 0};
    add_distance(state, &found, distances[-1], runs[-1]);
    add_distance(state, &found, distances[-(int32_t)stride], runs[-(int32_t)stride]);
    add_distance(state, &found, distances[1 - (int32_t)stride], runs[1 - (int32_t)stride]);
    add_distance(state, &found, distances[0], 0);
    add_distance(state, &found, (int32_t)state->area, 0);
    add_distance(state, &found, state->last_hit, 0);
    uint32_t *matches = view->matches;
    add_distance(state, &found, lookup(state, matches + place(x->wide, MATCH_BITS), position), 0);
    matches += 1u << MATCH_BITS;
    add_distance(state, &found, lookup(state, matches + place(x->near8, MATCH_BITS), position), 0);

    int32_t best = -1, second = -1;
    uint32_t run = 0;
    x->match = (int32_t)x->still;
    x->second = NO_LABEL;
    x->distance = (int32_t)state->area;
    for (uint32_t i = 0; i < found.count; i++) {
        int64_t at = (int64_t)position - found.distances[i];
        const uint8_t *q = view->history + (at < 0 ? at + total : at);
        uint32_t r = found.runs[i];
        int32_t value = likeness(&around, q, stride) * 8 + (r > 15 ? 3 : r > 3 ? 2 : r > 0) + (i == 0);
        int32_t label = (int32_t)label_at(view, q, planes);
        if (value > best) {
            if (best >= 0 && x->match != label) {
                x->second = x->match;
                second = best;
            }
            best = value;
            run = r;
            x->match = label;
            x->distance = found.distances[i];
        } else if (label != x->match && value > second) {
            x->second = label;
            second = value;
        }
    }
    int32_t nearby = -1;
    x->nearby = (int32_t)x->still;
    if ((x->differing | x->farther | x->moving) && !state->blank) {
        int32_t offset = 0;
        for (int32_t row = -WINDOW; row <= WINDOW; row++)
            for (int32_t column = -WINDOW; column <= WINDOW; column++) {
                int32_t o = row * (int32_t)stride + column;
                int32_t value = likeness(&around, last + o, stride) * 4 + (!row && !column ? 2 : !row || !column);
                if (value > nearby) {
                    nearby = value;
                    offset = o;
                }
            }
        x->nearby = (int32_t)label_at(view, last + offset, planes);
        int32_t value = nearby / 4 * 8;
        if (value > best) {
            if (x->match != x->nearby) {
                x->second = x->match;
                second = best;
            }
            best = value;
            run = 0;
            x->match = x->nearby;
            x->distance = (int32_t)state->area - offset;
        } else if (x->nearby != x->match && value > second) {
            x->second = x->nearby;
            second = value;
        }
    }
    x->likeness = likeness_class(best >> 3);
    x->second_likeness = likeness_class(second >> 3);
    x->nearby_likeness = likeness_class(nearby >> 2);
    x->run = run_class(run);
    x->shift = shift_class(state, x->distance);
    view->runs[x->p] = (uint8_t)run;
}

/* Neighbourhoods of a pixel and their hashes; `last` and `earlier` are its place in the last two grids. */
ALWAYS_INLINE void gather_neighbours(const View *view, Pixel *x, const uint8_t *last, const uint8_t *earlier,
                                     const int planes)
{
    const State *state = view->state;
    const uint32_t S = state->stride, grid = state->time;
    const uint8_t *c = x->here;
    x->left = label_at(view, c - 1, planes);
    x->up = label_at(view, c - S, planes);
    x->up_left = c[-1 - (int32_t)S];
    x->up_right = c[1 - (int32_t)S];
    x->still = state->blank ? x->left : label_at(view, last, planes);
    x->earlier = label_at(view, earlier, planes);
    const uint8_t *l = last, *e = earlier;
    x->differing = (uint32_t)(c[-1] != l[-1]) | (uint32_t)(*(c - S) != *(l - S)) << 1 |
                   (uint32_t)(*(c - S - 1) != *(l - S - 1)) << 2 | (uint32_t)(*(c - S + 1) != *(l - S + 1)) << 3;
    x->farther = (uint32_t)(c[-2] != l[-2]) | (uint32_t)(*(c - 2 * S) != *(l - 2 * S)) << 1 |
                 (uint32_t)(*(c - S - 2) != *(l - S - 2)) << 2 | (uint32_t)(*(c - S + 2) != *(l - S + 2)) << 3;
    uint64_t last_rows = load24(l - S - 1) | (uint64_t)load24(l - 1) << 24, last_row = load24(l + S - 1);
    uint64_t earlier_rows = load24(e - S - 1) | (uint64_t)load24(e - 1) << 24, earlier_row = load24(e + S - 1);
    /* One bit for each of the nine pixels that differ: the bytes that are not zero, gathered by a multiplication. */
    uint64_t moved = ~zero_bytes(last_rows ^ earlier_rows) & 0x0000010101010101u;
    uint64_t moved_below = ~zero_bytes(last_row ^ earlier_row) & 0x0000000000010101u;
    x->moving = (uint32_t)(moved * 0x0102040810204080u >> 56) | (uint32_t)(moved_below * 0x0102040810204080u >> 56) << 6;
    x->age = least(grid - view->changes[x->p], 15);

    const Template around = template_at(c, S);
    x->near4 = mix((uint64_t)(x->left & 255) | (uint64_t)(x->up & 255) << 8 | (uint64_t)x->up_left << 16 |
                       (uint64_t)x->up_right << 24, 77);
    x->near8 = mix(x->near4, (uint64_t)c[-2] | (uint64_t)*(c - 2 * S) << 8 | (uint64_t)*(c - S - 2) << 16 |
                                 (uint64_t)*(c - S + 2) << 24);
    x->wide = mix(mix(around.above, around.left), around.over);
    x->last3 = mix(mix(last_rows, 16), last_row);
    x->earlier3 = mix(mix(earlier_rows, 99), earlier_row);
    uint64_t below = load32(l + 2 * S - 2) | (uint64_t)l[2 * S + 2] << 32;
    uint64_t above = load32(l - 2 * S - 2) | (uint64_t)*(l - 2 * S + 2) << 32;
    x->last5 = mix(mix(mix(x->last3, below), above),
                   (uint64_t)*(l - S - 2) | (uint64_t)l[-2] << 8 | (uint64_t)l[S - 2] << 16 |
                       (uint64_t)*(l - S + 2) << 24 | (uint64_t)l[2] << 32 | (uint64_t)l[S + 2] << 40);
    x->last_near = mix(x->last3, x->near4);
    x->last_near_wide = mix(x->last5, x->near8);
}

/* Whether the pixel is the same as in the last grid. */
ALWAYS_INLINE void same_contexts(const View *view, const Pixel *x, const uint8_t *last, const Block *block,
                                 uint32_t beside, uint32_t row, uint32_t column, Contexts *contexts, Selection *selection)
{
    const uint64_t still = x->still, match = (uint64_t)x->match, second = (uint64_t)(x->second & 0xFFFF);
    const uint32_t is_match = x->match == (int32_t)x->still, is_second = x->second == (int32_t)x->still;
    const uint32_t is_nearby = x->nearby == (int32_t)x->still;
    *contexts = (Contexts){.kind = STAGE_SAME << 16};
    in_table(view, contexts, x->last_near_wide, 0);
    in_table(view, contexts, mix(x->last3, x->earlier3), x->near4);
    in_table(view, contexts, still | (uint64_t)x->left << 16 | (uint64_t)x->up << 32,
             (uint64_t)last[1] | (uint64_t)last[view->state->stride] << 8);
    in_table(view, contexts, (uint64_t)x->p << 32 | still << 16 | x->earlier, 0);
    in_table(view, contexts, x->near8, still);
    in_table(view, contexts, x->last3, x->moving);
    in_table(view, contexts, x->last3, x->differing | match << 8);
    in_table(view, contexts, match | still << 16 | (uint64_t)x->run << 32, 0);
    in_table(view, contexts, match | second << 16 | still << 32, x->left);
    in_table(view, contexts, x->age | still << 8 | (uint64_t)x->differing << 24, 0);
    in_table(view, contexts, still | (uint64_t)(x->nearby & 0xFFFF) << 16 | (uint64_t)x->left << 32,
             x->up | match << 16);
    in_common(view, contexts, x->differing | x->farther << 4 | x->moving << 8);
    in_common(view, contexts, x->shift | x->likeness << 8 | is_match << 16 | x->differing << 20);
    in_common(view, contexts, x->run | is_match << 8 | is_second << 9 | x->likeness << 12);
    in_common(view, contexts, column % BLOCK | row % BLOCK << 3 | least(block->count, 2) << 6 | beside << 8 | is_match << 10);
    in_common(view, contexts, x->age | x->differing << 4 | is_match << 8 | is_nearby << 9);
    *selection = (Selection){
        .mixer = {x->differing | is_match << 4 | (uint32_t)(x->moving > 0) << 5, 64 + x->likeness * 2 + is_match,
                  96 + x->run * 16 + least(block->count, 3) * 4 + is_match * 2 + is_nearby},
        .final = x->differing | is_match << 4,
        .correction = {x->differing | is_match << 4, 64 + x->run * 2 + is_match},
    };
}

/* The same where neither the neighbours nor the last grid changed and no match says otherwise: fewer contexts do. */
ALWAYS_INLINE void quiet_contexts(const View *view, const Pixel *x, const uint8_t *last, const Block *block,
                                  uint32_t beside, uint32_t row, uint32_t column, Contexts *contexts,
                                  Selection *selection)
{
    const uint64_t still = x->still;
    const uint32_t inside = column % BLOCK | row % BLOCK << 3, count = least(block->count, 3);
    const uint32_t is_second = x->second != NO_LABEL;
    *contexts = (Contexts){.kind = STAGE_QUIET << 16};
    in_table(view, contexts, x->last_near_wide, 0);
    in_table(view, contexts, x->last_near, 0);
    in_table(view, contexts, (uint64_t)x->p << 16 | still, 0);
    in_table(view, contexts, (uint64_t)x->p << 32 | count << 8 | beside, 0);
    in_table(view, contexts, still | (uint64_t)x->left << 16 | (uint64_t)x->up << 32,
             (uint64_t)last[1] | (uint64_t)last[view->state->stride] << 8);
    in_common(view, contexts, inside | count << 6 | beside << 8 | is_second << 10);
    in_common(view, contexts, x->age | x->run << 4 | is_second << 8 | x->second_likeness << 9 | count << 13);
    in_common(view, contexts, block->history | block->amount << 8 | count << 12);
    *selection = (Selection){
        .mixer = {inside | count << 6, 256 + x->age * 2 + is_second, 288 + x->second_likeness * 2 + is_second},
        .final = count * 4 + beside,
        .correction = {x->age, 16 + inside},
    };
}

/* Whether the pixel is the candidate `label`, of that number and likelihood, the `tried`-th that is asked about. */
ALWAYS_INLINE void candidate_contexts(const View *view, const Pixel *x, uint64_t label, uint32_t number, uint32_t likely,
                                      uint32_t tried, uint32_t agreeing, Contexts *contexts, Selection *selection)
{
    const uint64_t still = x->still;
    *contexts = (Contexts){.kind = STAGE_CANDIDATE << 16};
    in_table(view, contexts, number | label << 8 | (uint64_t)likely << 24, 0);
    in_table(view, contexts, x->last_near, number | label << 8);
    in_table(view, contexts, x->near4, label | still << 16 | (uint64_t)number << 32);
    in_table(view, contexts, label | still << 16 | (uint64_t)x->left << 32 | (uint64_t)x->up << 48, 0);
    in_table(view, contexts, (uint64_t)x->p << 32 | label << 16 | still, 0);
    in_table(view, contexts, label | (uint64_t)x->earlier << 16 | (uint64_t)x->shift << 32, 0);
    in_table(view, contexts, x->last_near_wide, label);
    in_table(view, contexts, agreeing | label << 8 | (uint64_t)tried << 24, 0);
    in_table(view, contexts, x->near8, label | still << 16);
    in_table(view, contexts, x->last3, label);
    in_table(view, contexts, x->earlier3, label | still << 16);
    in_table(view, contexts, x->up_right | x->up_left << 8 | (uint64_t)x->left << 16 | (uint64_t)x->up << 32, label);
    in_common(view, contexts, agreeing | likely << 8 | number << 12);
    in_common(view, contexts, agreeing | x->likeness << 8 | x->run << 12 | tried << 16);
    *selection = (Selection){
        .mixer = {number * 16 + likely, 160 + (agreeing & 63),
                  224 + least(tried, 15) * 16 + x->run * 2 + (uint32_t)((int32_t)label == x->match)},
        .final = number,
        .correction = {number * 16 + likely, 160 + agreeing},
    };
}

/* A byte, bit by bit, each in the light of those before it and of what stands around. */
ALWAYS_INLINE uint32_t code_label_bits(View *view, const Pixel *x, int stage, uint32_t value, uint64_t known)
{
    const uint64_t still = x->still, left = x->left, up = x->up;
    uint32_t node = 1;
    for (int bit = 7; bit >= 0; bit--) {
        Contexts contexts = {.kind = (uint64_t)stage << 16 | node << 5 | known << 32};
        in_table(view, &contexts, 0, 0);
        in_table(view, &contexts, still, 0);
        in_table(view, &contexts, left, 0);
        in_table(view, &contexts, up, 0);
        in_table(view, &contexts, left | up << 16, 0);
        in_table(view, &contexts, still | left << 16, 0);
        in_table(view, &contexts, still | up << 16, 0);
        in_table(view, &contexts, x->p, 0);
        in_table(view, &contexts, x->near4, 0);
        Selection selection = {.mixer = {node, 256 + (uint32_t)bit, 264}, .final = (uint32_t)bit,
                               .correction = {node, 256 + (uint32_t)bit}};
        node = node << 1 | (uint32_t)decide(view, stage, &contexts, &selection, (int)(value >> bit & 1));
    }
    return node & 255;
}

/* What followed a context last, and how often in a row: label | count << 16; 0 where it was never seen. */
ALWAYS_INLINE void update_successor(uint32_t *entry, uint32_t label)
{
    uint32_t count = *entry >> 16;
    if (count && (*entry & 0xFFFF) == label)
        *entry += (uint32_t)(count < 15) << 16;
    else
        *entry = count > 1 ? (*entry & 0xFFFF) | count / 2 << 16 : label | 1u << 16;
}

typedef struct {
    int32_t label;
    uint32_t likely;
} Candidate;

ALWAYS_INLINE Candidate successor(uint32_t entry)
{
    Candidate candidate = {entry ? (int32_t)(entry & 0xFFFF) : NO_LABEL, entry >> 16};
    return candidate;
}

/* What an encoder is to code, and for how many grids it is meant. */
typedef struct {
    uint32_t label, span;
} Meant;

/* What costs less: to code what is meant, or `label` in its place? Costs in 1/256 bit. */
ALWAYS_INLINE int is_worth(const View *view, Meant meant, uint32_t label, uint32_t p, uint32_t mean)
{
    return view->costs && meant.label != label &&
           view->costs[(meant.label & 255) * COLOURS + (label & 255)] * meant.span + cost_of(view, p) <
               cost_of(view, 65536 - p) + (mean >> 4);
}

/* A pixel that is not the same as in the last grid: its label. */
ALWAYS_INLINE uint32_t code_change(View *view, Pixel *x, Meant meant, const int planes)
{
    State *state = view->state;
    uint32_t *followers[SUCCESSORS] = {
        view->successors + place(x->last_near_wide, SUCCESSOR_BITS),
        view->successors + (1u << SUCCESSOR_BITS) + place(x->last_near, SUCCESSOR_BITS),
        view->successors + (2u << SUCCESSOR_BITS) + place(mix(x->near4, x->still), SUCCESSOR_BITS),
        view->latest + x->still,
    };
    const Candidate wide = successor(*followers[0]), narrow = successor(*followers[1]);
    const Candidate candidates[CANDIDATES] = {
        {x->match, x->likeness}, {x->second, x->second_likeness}, wide, {x->nearby, x->nearby_likeness}, narrow,
        successor(*followers[2]), {(int32_t)x->left, 0}, {(int32_t)x->up, 0}, successor(*followers[3]),
        {(int32_t)x->earlier, 0},
    };
    int32_t asked[CANDIDATES + 1] = {(int32_t)x->still};
    uint32_t tried = 1, spent = 0, missed = 0;
    int32_t result = NO_LABEL;
    for (uint32_t number = 0; number < CANDIDATES && result == NO_LABEL; number++) {
        int32_t label = candidates[number].label;
        uint32_t known = label == NO_LABEL;
        for (uint32_t i = 0; i < tried; i++)
            known |= asked[i] == label;
        if (known)
            continue;
        asked[tried++] = label;
        uint32_t agreeing = (uint32_t)(label == x->nearby) | (uint32_t)(label == x->match) << 1 |
                            (uint32_t)(label == x->second) << 2 | (uint32_t)(label == (int32_t)x->left) << 3 |
                            (uint32_t)(label == (int32_t)x->up) << 4 | (uint32_t)(label == (int32_t)x->earlier) << 5 |
                            (uint32_t)(label == narrow.label) << 6;
        Contexts contexts;
        Selection selection;
        candidate_contexts(view, x, (uint64_t)label, number, least(candidates[number].likely, 15), tried, agreeing,
                           &contexts, &selection);
        uint32_t p = predict_decision(view, STAGE_CANDIDATE, &contexts, &selection);
        if (is_worth(view, meant, (uint32_t)label, p, state->mean_rest))
            meant.label = (uint32_t)label;
        int hit = code_decision(view, STAGE_CANDIDATE, &selection, p, meant.label == (uint32_t)label);
        spent += cost_of(view, hit ? p : 65536 - p);
        if (hit)
            result = label;
        else if (!missed)
            missed = spent + 1;
    }
    if (result == NO_LABEL) {
        uint32_t value = code_label_bits(view, x, STAGE_BITS, meant.label & 255, 0);
        if (planes == 2)
            value |= code_label_bits(view, x, STAGE_SHADE, meant.label >> 8, value + 1) << 8;
        result = (int32_t)value;
        spent += 8 * 256;
    }
    for (int i = 0; i < SUCCESSORS; i++)
        update_successor(followers[i], (uint32_t)result);
    state->mean_change += (spent << 4) / 32 - state->mean_change / 32;
    if (missed)
        state->mean_rest += ((spent + 1 - missed) << 4) / 32 - state->mean_rest / 32;
    return (uint32_t)result;
}

ALWAYS_INLINE uint32_t code_pixel(View *view, uint8_t *here, const uint8_t *last, const uint8_t *earlier, uint32_t row,
                                  uint32_t column, Block *block, Meant meant, const int planes)
{
    State *state = view->state;
    Pixel x = {.here = here, .p = (row + MARGIN_Y) * state->stride + column + MARGIN_X};
    gather_neighbours(view, &x, last, earlier, planes);
    find_matches(view, &x, last, planes);
    uint32_t beside = (uint32_t)block[1].changed | (uint32_t)block[state->columns + 2].changed << 1;
    Contexts contexts;
    Selection selection;
    const int quiet = !(x.differing | x.farther | x.moving | state->blank) && x.match == (int32_t)x.still;
    const int stage = quiet ? STAGE_QUIET : STAGE_SAME;
    if (quiet)
        quiet_contexts(view, &x, last, block, beside, row, column, &contexts, &selection);
    else
        same_contexts(view, &x, last, block, beside, row, column, &contexts, &selection);
    uint32_t p = predict_decision(view, stage, &contexts, &selection);
    if (is_worth(view, meant, x.still, p, state->mean_change))
        meant.label = x.still;
    uint32_t label = x.still;
    if (!code_decision(view, stage, &selection, p, meant.label == x.still)) {
        label = code_change(view, &x, meant, planes);
        block->count += block->count < 255;
        view->changes[x.p] = state->time;
    }
    uint32_t hit = (int32_t)label == x.match, run = view->runs[x.p];
    view->runs[x.p] = (uint8_t)(hit ? least(run + 1, 63) : 0);
    view->distances[x.p] = x.distance;
    if (hit && x.distance != (int32_t)state->area)
        state->last_hit = x.distance;
    return label;
}

/* Whether a block is changed. */
ALWAYS_INLINE int code_flag(View *view, const Block *b, uint32_t row, uint32_t column, int changed)
{
    const uint32_t W = view->state->columns + 2;
    const Block *u = b - W, *d = b + W;
    const uint32_t around = (uint32_t)u[-1].before | (uint32_t)u->before << 1 | (uint32_t)u[1].before << 2 |
                            (uint32_t)b[-1].before << 3 | (uint32_t)b->before << 4 | (uint32_t)b[1].before << 5 |
                            (uint32_t)d[-1].before << 6 | (uint32_t)d->before << 7 | (uint32_t)d[1].before << 8;
    const uint32_t now = (uint32_t)b[-1].changed | (uint32_t)u->changed << 1 | (uint32_t)u[-1].changed << 2 |
                         (uint32_t)u[1].changed << 3;
    const uint32_t age = least(b->age, 20);
    const uint64_t position = (uint64_t)(row << 12 | column) << 8;
    Contexts contexts = {.kind = STAGE_BLOCK << 16};
    in_table(view, &contexts, position | b->before, 0);
    in_table(view, &contexts, position | b->age, 0);
    in_table(view, &contexts, position | now, 0);
    in_table(view, &contexts, position | b->history, 0);
    in_common(view, &contexts, around | now << 9);
    in_common(view, &contexts, b->age | b->period << 8);
    in_common(view, &contexts, age | now << 8);
    in_common(view, &contexts, age | least(b[1].age, 6) << 8 | least(d->age, 6) << 12 | least(b[-1].age, 6) << 16 | now << 20);
    in_common(view, &contexts, b->history | now << 8);
    in_common(view, &contexts, b->history | (b[1].history & 7u) << 8 | (b[-1].history & 7u) << 12 |
                                   (d->history & 7u) << 16 | (u->history & 7u) << 20 | now << 24);
    in_common(view, &contexts, b->amount | b[1].amount << 4 | b[-1].amount << 8 | d->amount << 12 | u->amount << 16 | now << 20);
    Selection selection = {.mixer = {b->before * 16u + now, 32 + least(age, 15), 64 + b->period % 64u},
                           .final = now, .correction = {least(age, 15), 16 + now}};
    return decide(view, STAGE_BLOCK, &contexts, &selection, changed);
}

/* By which of the vectors a changed block is a copy: 0, or 1 + its number. */
ALWAYS_INLINE uint32_t code_copied(View *view, const Block *b, uint32_t vectors, uint32_t copied)
{
    const Block *u = b - view->state->columns - 2;
    for (uint32_t number = 1; number <= vectors; number++) {
        uint32_t beside = (uint32_t)(b[-1].copied == number) | (uint32_t)(u->copied == number) << 1 |
                          (uint32_t)(b[-1].changed && !b[-1].copied) << 2 | (uint32_t)(u->changed && !u->copied) << 3;
        Contexts contexts = {.kind = STAGE_COPY << 16};
        in_common(view, &contexts, beside);
        in_common(view, &contexts, number | beside << 2);
        in_common(view, &contexts, (uint32_t)(u[1].copied == number) | (uint32_t)(u[-1].copied == number) << 1 | beside << 2);
        in_common(view, &contexts, b->before | vectors << 1 | beside << 3);
        Selection selection = {.mixer = {beside, beside, number}, .final = number, .correction = {beside, beside}};
        if (decide(view, STAGE_COPY, &contexts, &selection, copied == number))
            return number;
    }
    return 0;
}

/* How many vectors a grid has. */
ALWAYS_INLINE uint32_t code_count(View *view, uint32_t count)
{
    for (uint32_t number = 0; number < VECTORS_MOST; number++) {
        Contexts contexts = {.kind = STAGE_COPY << 16 | 1 << 8};
        for (int i = 0; i < 4; i++)
            in_common(view, &contexts, number);
        Selection selection = {.mixer = {16, 17, 18}, .final = 4, .correction = {16 + number, 16 + number}};
        if (!decide(view, STAGE_COPY, &contexts, &selection, number < count))
            return number;
    }
    return VECTORS_MOST;
}

ALWAYS_INLINE uint8_t *grid_in_history(const View *view, uint32_t back)
{
    const State *state = view->state;
    return view->history + (uint64_t)((state->time + state->grids - back) % state->grids) * state->area;
}

/* Forget what belonged to the grids before: what moved, what changed when. */
ALWAYS_INLINE void forget_movement(View *view)
{
    State *state = view->state;
    for (uint32_t i = 0; i < state->area; i++) {
        view->distances[i] = (int32_t)state->area;
        view->changes[i] = state->time;
    }
    memset(view->runs, 0, state->area);
    memset(view->blocks, 0, (size_t)(state->rows + 2) * (state->columns + 2) * sizeof(Block));
    for (uint32_t i = 0; i < (state->rows + 2) * (state->columns + 2); i++)
        view->blocks[i].age = view->blocks[i].period = 255;
    state->last_hit = (int32_t)state->area;
}

/* The remembered grid that is most like `grid`, as how many grids ago it was; 0 where none is like it at all. */
static uint32_t nearest_grid(const View *view, const uint8_t *grid, uint32_t remembered)
{
    const State *state = view->state;
    uint32_t best = 0, fewest = 0xFFFFFFFFu, compared = 0;
    for (uint32_t back = 1; back <= remembered; back++) {
        const uint8_t *stored = grid_in_history(view, back);
        uint32_t differing = 0;
        compared = 0;
        for (uint32_t y = 0; y < state->height && differing < fewest; y += 2)
            for (uint32_t x = 0; x + 4 <= state->width; x += 4, compared++)
                differing += load32(grid + (size_t)y * state->width + x) !=
                             load32(stored + (size_t)(y + MARGIN_Y) * state->stride + x + MARGIN_X);
        if (differing < fewest) {
            fewest = differing;
            best = back;
        }
    }
    return fewest < compared / 2 ? best : 0;
}

/* The grid that the first one of a segment is compared with: an empty one, or one that is remembered. */
ALWAYS_INLINE void begin_labels(View *view, const uint8_t *grid, const int planes)
{
    State *state = view->state;
    const uint32_t remembered = least(state->time, state->grids - 1);
    uint32_t back = 0;
    forget_movement(view);
    if (remembered) {
        if (!view->stream.input)
            back = nearest_grid(view, grid, remembered);
        back = least(code_raw(&state->coder, &view->stream, back, 13), remembered);
    }
    state->blank = !back;
    const uint8_t *start = grid_in_history(view, back);
    for (int copy = 0; copy < 2; copy++, state->time++)
        for (int plane = 0; plane < planes; plane++) {
            uint8_t *to = grid_in_history(view, 0) + plane * view->plane;
            if (back)
                memmove(to, start + plane * view->plane, state->area);
            else
                memset(to, 0, state->area);
        }
}

/* Whether a block of a grid [height][width] is to be coded: where it differs from the last grid, and with spans where
 * what differs is meant from this grid on. */
ALWAYS_INLINE int differs(const View *view, const uint8_t *grid, const uint8_t *last, uint32_t y, uint32_t x,
                          uint32_t rows, uint32_t columns, const int planes)
{
    const State *state = view->state;
    const size_t codes = (size_t)state->width * state->height;
    for (int plane = 0; plane < planes; plane++)
        for (uint32_t i = 0; i < rows; i++) {
            const size_t at = (size_t)(y + i) * state->width + x;
            const uint8_t *meant = grid + plane * codes + at;
            const uint8_t *before = last + plane * view->plane + (y + i + MARGIN_Y) * state->stride + x + MARGIN_X;
            if (!memcmp(meant, before, columns))
                continue;
            if (!view->spans)
                return 1;
            for (uint32_t j = 0; j < columns; j++)
                if (meant[j] != before[j] && view->spans[at + j] & SPAN_BEGINS)
                    return 1;
        }
    return 0;
}

/* Flags and copies of all blocks; `grid` is NULL in a decoder. */
ALWAYS_INLINE void code_blocks(View *view, const uint8_t *grid, uint8_t *now, const uint8_t *last, const int planes)
{
    State *state = view->state;
    const uint32_t stride = state->stride, width = state->width, height = state->height;
    const size_t codes = (size_t)width * height;
    int32_t vectors[VECTORS_MOST][2] = {{0}};
    uint32_t count = grid ? find_vectors(view, grid, last, vectors) : 0;
    if (!state->blank) {
        count = code_count(view, count);
        for (uint32_t i = 0; i < count; i++)
            for (int axis = 0; axis < 2; axis++)
                vectors[i][axis] = (int16_t)code_raw(&state->coder, &view->stream, (uint16_t)vectors[i][axis], 16);
    }
    for (uint32_t row = 0; row < state->rows && !is_over(view); row++)
        for (uint32_t column = 0; column < state->columns; column++) {
            Block *block = view->blocks + (row + 1) * (state->columns + 2) + column + 1;
            const uint32_t y = row * BLOCK, x = column * BLOCK;
            const uint32_t rows = least(BLOCK, height - y), columns = least(BLOCK, width - x);
            const uint32_t place_in_plane = (y + MARGIN_Y) * stride + x + MARGIN_X;
            int changed = state->blank != 0;
            uint32_t copied = 0;
            uint64_t position = view->spent ? coder_position(&state->coder) : 0;
            if (!state->blank) {
                if (grid)
                    changed = differs(view, grid, last, y, x, rows, columns, planes);
                changed = code_flag(view, block, row, column, changed);
            }
            if (view->spent)
                position = spend(view, y, x, position);
            block->changed = (uint8_t)changed;
            block->copied = 0;
            block->count = 0;
            if (!changed) {
                if (block->before)
                    for (uint32_t i = 0; i < rows; i++)
                        for (uint32_t j = 0; j < columns; j++) {
                            view->distances[place_in_plane + i * stride + j] = (int32_t)state->area;
                            view->runs[place_in_plane + i * stride + j] = 0;
                        }
                continue;
            }
            if (!count)
                continue;
            const uint8_t *sources[VECTORS_MOST];
            for (uint32_t v = 0; v < count; v++) {
                int32_t from_y = clamp((int32_t)y + vectors[v][0], 0, (int32_t)(height - rows));
                int32_t from_x = clamp((int32_t)x + vectors[v][1], 0, (int32_t)(width - columns));
                sources[v] = last + (size_t)(from_y + MARGIN_Y) * stride + (size_t)(from_x + MARGIN_X);
                if (grid && !copied) {
                    int equal = 1;
                    for (uint32_t i = 0; i < rows && equal; i++)
                        for (int plane = 0; plane < planes && equal; plane++)
                            equal = !memcmp(grid + plane * codes + (size_t)(y + i) * width + x,
                                            sources[v] + plane * view->plane + i * stride, columns);
                    copied = equal ? v + 1 : 0;
                }
            }
            copied = code_copied(view, block, count, copied);
            if (view->spent)
                spend(view, y, x, position);
            if (!copied)
                continue;
            block->copied = (uint8_t)copied;
            block->count = BLOCK * BLOCK / 2;
            const uint8_t *source = sources[copied - 1];
            const int32_t distance = (int32_t)(state->area + place_in_plane) - (int32_t)(source - last);
            for (uint32_t i = 0; i < rows; i++) {
                const uint32_t at = place_in_plane + i * stride;
                for (int plane = 0; plane < planes; plane++)
                    memcpy(now + plane * view->plane + at, source + plane * view->plane + i * stride, columns);
                for (uint32_t j = 0; j < columns; j++) {
                    view->distances[at + j] = distance;
                    view->runs[at + j] = BLOCK;
                    view->changes[at + j] = state->time;
                }
            }
        }
}

/* The pixels of changed blocks that are no copies. */
ALWAYS_INLINE void code_pixels(View *view, const uint8_t *grid, uint8_t *now, const uint8_t *last, const uint8_t *earlier,
                               const int planes)
{
    State *state = view->state;
    const size_t codes = (size_t)state->width * state->height;
    for (uint32_t y = 0; y < state->height && !is_over(view); y++)
        for (uint32_t column = 0; column < state->columns; column++) {
            Block *block = view->blocks + (y / BLOCK + 1) * (state->columns + 2) + column + 1;
            if (!block->changed || block->copied)
                continue;
            const uint32_t end = least(column * BLOCK + BLOCK, state->width);
            const uint64_t position = view->spent ? coder_position(&state->coder) : 0;
            for (uint32_t x = column * BLOCK; x < end; x++) {
                const size_t at = (size_t)(y + MARGIN_Y) * state->stride + x + MARGIN_X, code = (size_t)y * state->width + x;
                Meant meant = {.span = view->spans ? view->spans[code] & (SPAN_BEGINS - 1) : 1};
                if (grid)
                    meant.label = planes == 2 ? grid[code] | (uint32_t)grid[codes + code] << 8 : grid[code];
                uint32_t label = code_pixel(view, now + at, last + at, earlier + at, y, x, block, meant, planes);
                now[at] = (uint8_t)label;
                if (planes == 2)
                    now[at + view->plane] = (uint8_t)(label >> 8);
            }
            if (view->spent)
                spend(view, y, column * BLOCK, position);
        }
}

ALWAYS_INLINE void age_blocks(View *view)
{
    const State *state = view->state;
    for (uint32_t row = 1; row <= state->rows; row++)
        for (uint32_t column = 1; column <= state->columns; column++) {
            Block *b = view->blocks + row * (state->columns + 2) + column;
            b->amount = b->count < 1 ? 0 : b->count < 3 ? 1 : b->count < 8 ? 2 : b->count < 20 ? 3 : 4;
            b->history = (uint8_t)(b->history << 1 | b->changed);
            if (b->changed) {
                b->period = b->age;
                b->age = 0;
            } else {
                b->age += b->age < 255;
            }
            b->before = b->changed;
        }
}

ALWAYS_INLINE void code_labels_in(View *view, uint8_t *grid, const int planes)
{
    State *state = view->state;
    const size_t codes = (size_t)state->width * state->height;
    const uint8_t *meant = view->stream.input ? NULL : grid;
    if (state->beginning)
        begin_labels(view, grid, planes);
    uint8_t *now = grid_in_history(view, 0);
    const uint8_t *last = grid_in_history(view, 1), *earlier = grid_in_history(view, 2);
    for (int plane = 0; plane < planes; plane++)
        memcpy(now + plane * view->plane, last + plane * view->plane, state->area);
    code_blocks(view, meant, now, last, planes);
    code_pixels(view, meant, now, last, earlier, planes);
    age_blocks(view);
    state->blank = 0;
    if (view->stream.input || view->costs)
        for (int plane = 0; plane < planes; plane++)
            for (uint32_t y = 0; y < state->height; y++)
                memcpy(grid + plane * codes + (size_t)y * state->width,
                       now + plane * view->plane + (size_t)(y + MARGIN_Y) * state->stride + MARGIN_X, state->width);
}

void CODE_LABELS(View *view, uint8_t *grid)
{
    if (view->state->planes == 2)
        code_labels_in(view, grid, 2);
    else
        code_labels_in(view, grid, 1);
}
