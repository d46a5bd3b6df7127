/* A binary arithmetic coder (carryless, as in lpaq: Mahoney, "Data Compression Explained", 3.2).
 *
 * The interval [low, high] of 32-bit numbers is cut in two at each decision, in the proportion of its probabilities;
 * leading bytes on which both ends agree are done with. Encoder and decoder keep the same interval.
 */
#ifndef PACODEC_RANGE_CODER_H
#define PACODEC_RANGE_CODER_H

#include <stddef.h>
#include <stdint.h>

enum { CODER_BYTES = 4 }; /* of the number that a decoder looks ahead, and of the end of a segment */

typedef struct {
    uint32_t low, high;
    uint32_t ahead;   /* decoder: the next bytes, as far as they are not done with */
    uint32_t padding;
    uint64_t taken;   /* decoder: bytes read so far, those beyond the end included */
} Coder;

/* Where bytes come from or go to during one call; never part of a state. */
typedef struct {
    const uint8_t *input; /* NULL in an encoder */
    size_t size;
    uint8_t *output;
    size_t written, capacity;
} Stream;

static inline uint8_t next_byte(Coder *coder, const Stream *stream)
{
    uint64_t at = coder->taken++;
    return at < stream->size ? stream->input[at] : 0;
}

static inline void coder_begin(Coder *coder, const Stream *stream)
{
    *coder = (Coder){.low = 0, .high = 0xFFFFFFFFu};
    if (stream->input)
        for (int i = 0; i < CODER_BYTES; i++)
            coder->ahead = coder->ahead << 8 | next_byte(coder, stream);
}

static inline void put_byte(Stream *stream, uint8_t byte)
{
    if (stream->written < stream->capacity)
        stream->output[stream->written] = byte;
    stream->written++;
}

/* Code a decision whose probability of being 1 is p / 65536, 1 <= p <= 65535. A decoder ignores `bit`. */
static inline int code_bit(Coder *coder, Stream *stream, int bit, uint32_t p)
{
    uint32_t range = coder->high - coder->low;
    uint32_t middle = coder->low + (range >> 16) * p + ((range & 0xFFFF) * p >> 16);
    if (stream->input)
        bit = coder->ahead <= middle;
    if (bit)
        coder->high = middle;
    else
        coder->low = middle + 1;
    while (!((coder->low ^ coder->high) >> 24)) {
        if (stream->input)
            coder->ahead = coder->ahead << 8 | next_byte(coder, stream);
        else
            put_byte(stream, (uint8_t)(coder->high >> 24));
        coder->low <<= 8;
        coder->high = coder->high << 8 | 0xFF;
    }
    return bit;
}

/* Numbers that nothing is known of, most significant bit first. */
static inline uint32_t code_raw(Coder *coder, Stream *stream, uint32_t value, int bits)
{
    uint32_t result = 0;
    for (int i = bits - 1; i >= 0; i--)
        result = result << 1 | (uint32_t)code_bit(coder, stream, value >> i & 1, 32768);
    return result;
}

/* How far a decoder is, in 1/256 bit: what it took of its input, less what the interval leaves open. */
static inline uint64_t coder_position(const Coder *coder)
{
    uint64_t range = (uint64_t)coder->high - coder->low + 1;
    uint32_t whole = 0, digits = 0;
    while (range >> whole > 1)
        whole++;
    /* log2 a binary digit at a time: squaring a number in [1, 2), here scaled by 2^31, doubles its logarithm. */
    uint64_t y = range << 31 >> whole;
    for (int i = 0; i < 8; i++) {
        y = y * y >> 31;
        digits = digits << 1 | (uint32_t)(y >> 32);
        y >>= y >> 32;
    }
    return (coder->taken << 11) + (32 << 8) - (whole << 8 | digits);
}

static inline void coder_finish(const Coder *coder, Stream *stream)
{
    for (int i = 0; i < CODER_BYTES; i++)
        put_byte(stream, (uint8_t)(coder->low >> (24 - 8 * i)));
}

#endif
