/* Small helpers that give the same integers on every machine: loads are little-endian whatever the processor. */
#ifndef PACODEC_INTEGERS_H
#define PACODEC_INTEGERS_H

#include <stdint.h>

static inline uint32_t load24(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
}

static inline uint32_t load32(const uint8_t *p)
{
    return load24(p) | (uint32_t)p[3] << 24;
}

static inline uint64_t load64(const uint8_t *p)
{
    return load32(p) | (uint64_t)load32(p + 4) << 32;
}

static inline void store32(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> 8 * i);
}

static inline int32_t clamp(int32_t value, int32_t least, int32_t most)
{
    return value < least ? least : value > most ? most : value;
}

static inline uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Mix b into the hash a. Multiplication carries low bits upwards, the shift brings high bits down again. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t h = (a ^ (b + 0x9E3779B97F4A7C15u)) * 0xD6E8FEB86659FD93u;
    return h ^ h >> 32;
}

/* The upper `bits` bits of a hash: the number of a place in a table of 2^bits. */
static inline uint32_t place(uint64_t hash, int bits)
{
    return (uint32_t)(hash >> (64 - bits));
}

/* 1 in each byte that is zero in x, 0 in the others. */
static inline uint64_t zero_bytes(uint64_t x)
{
    const uint64_t low = 0x7F7F7F7F7F7F7F7Fu;
    return ~(((x & low) + low) | x | low) >> 7;
}

#endif
