"""Pictures of another size."""

import numpy as np

from pacodec.common.media import Pictures


def resize(pictures: Pictures, height: int, width: int) -> Pictures:
    """uint8 [n, H, W, 3] to [n, height, width, 3] by Lanczos resampling, the study's choice; as they are when equal."""
    if pictures.shape[1:3] == (height, width):
        return pictures
    import cv2  # here, so that what never resizes stays small

    resized = np.empty((len(pictures), height, width, 3), np.uint8)
    for source, target in zip(pictures, resized, strict=True):
        cv2.resize(source, (width, height), dst=target, interpolation=cv2.INTER_LANCZOS4)
    return resized
