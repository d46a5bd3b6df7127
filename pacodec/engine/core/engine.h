/* The sequential engine of pacodec: code grids to bytes and back, without loss.
 *
 * Every code is foreseen from all that was coded before it. It becomes a short chain of yes-or-no decisions; each
 * decision is given a probability by counters of what happened before in like surroundings, which a small network
 * of integers mixes, and an arithmetic coder turns the decisions into bytes. Encoder and decoder run one function.
 *
 * A state is one flat block of memory that the caller owns. There are no pointers in it, so a copy of its bytes is a
 * copy of the state. The engine allocates nothing, has no globals that change, and calls nothing but memcpy and
 * memset. Whatever the bytes of a payload, nothing is read or written outside the state, the payload and the grids.
 *
 * A segment is a run of grids that end in a flushed coder: a GOP. What the state learned in earlier segments stays.
 */
#ifndef PACODEC_ENGINE_H
#define PACODEC_ENGINE_H

#include <stddef.h>
#include <stdint.h>

/* sha256 of the sources that the library was compiled of, in hexadecimal; empty where the build does not say. */
const char *pac_sources(void);

/* Bytes of a state for grids of uint8 [channels][height][width]; 0 where the engine does not take them. `ordinal` is 1
 * where codes are numbers (an autoencoder's latents), 0 where they are names (colours of a palette). */
size_t pac_state_size(uint32_t ordinal, uint32_t channels, uint32_t height, uint32_t width);

/* Make a state in `state`, which must be zero bytes, aligned to 8. `start`, or NULL, is what `pac_state_learned` gave
 * out for a state of the same kind: counters, mixers and maps to begin with. Returns 0, or 1 where something is off. */
int pac_state_init(void *state, uint32_t ordinal, uint32_t channels, uint32_t height, uint32_t width,
                   const uint8_t *start, size_t start_size);

/* Bytes of what a state knows that any footage may begin with: mixers, maps, corrections and the counters of contexts
 * that name no colours. With `out` it is written there, little-endian; the state is not to be used after that. */
size_t pac_state_learned(void *state, uint8_t *out, size_t capacity);

/* Bytes that one grid, or the end of a segment, can take at the most. */
size_t pac_bound(const void *state);

void pac_encode_begin(void *state);

/* Code `count` grids; returns the bytes written to `out`, of `capacity` >= count * pac_bound. With `costs`, in 1/256
 * bit [256][256], of coding j where i was meant in the first channel, codes may be replaced by others that save more;
 * `grids` is then overwritten by what was coded. With `spans` as well, [count][height][width] for grids of one channel,
 * a code counts for as many grids as it is meant to stay, this one included, at most 2^15 - 1; 2^15 is added where it is
 * meant from this grid on. Elsewhere a code that was replaced before is no reason to code its block again. */
size_t pac_encode(void *state, uint8_t *grids, uint32_t count, const uint16_t *costs, const uint16_t *spans,
                  uint8_t *out, size_t capacity);

/* End the segment; returns the bytes written to `out`. */
size_t pac_encode_end(void *state, uint8_t *out, size_t capacity);

/* Begin a segment of `size` bytes at `data`, which each call is given again. Each returns 0, or 1 where the bytes are
 * visibly no segment of so many grids: damage may also go unseen and end in other codes. */
int pac_decode_begin(void *state, const uint8_t *data, size_t size);
int pac_decode(void *state, const uint8_t *data, size_t size, uint8_t *grids, uint32_t count);
/* As pac_decode; where `costs` is not NULL, it is told besides what each grid took, in 1/256 bit: [count][blocks + 1], the
 * blocks of 8x8 codes row by row, of all channels together, and last what was of no block. */
int pac_decode_costs(void *state, const uint8_t *data, size_t size, uint8_t *grids, uint32_t count, uint32_t *costs);
int pac_decode_end(void *state, const uint8_t *data, size_t size);

#endif
