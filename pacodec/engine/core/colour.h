/* Decoded Y'CbCr pictures to RGB, in integers, with the levels that FFmpeg's default conversion shows. */
#ifndef PACODEC_COLOUR_H
#define PACODEC_COLOUR_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const void *planes[3];         /* Y', Cb, Cr: uint8_t at 8 bits, uint16_t in the machine's byte order above */
    int64_t strides[3];            /* bytes from a row of a plane to the next */
    uint32_t width, height;        /* of luma, in pixels */
    uint32_t depth;                /* bits of a sample, 8 to 14 */
    uint32_t shift_x, shift_y;     /* log2 of how many pixels share a chroma sample: 0 or 1 */
    uint32_t matrix;               /* H.273 code point; one without coefficients is read as BT.601 */
    uint32_t full_range;           /* 0: luma 16 to 235 of 255; otherwise 0 to 255 */
    uint32_t siting_x, siting_y;   /* where a chroma sample lies in its pixels: 0 first, 128 middle, 256 last */
} pac_picture;

/* Write the picture to rgb, height rows of width * 3 bytes that lie stride bytes apart. 0, or -1 where a field is out
   of its range (then nothing is written). A sample above its depth is cut to it. */
int pac_colour_to_rgb(const pac_picture *picture, uint8_t *rgb, int64_t stride);

#endif
