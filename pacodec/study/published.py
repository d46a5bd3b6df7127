"""What the study reported: its results table and its three demo clips."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of the study's table."""

    network: str
    quantizer: str
    epochs: int
    model_size: str
    ratio: str
    """Bytes of the code over those of the frame."""
    psnr: float
    """Mean over 491 frames, dB."""
    ssim: float


PUBLISHED = (
    Published("vanilla-1000", "none", 60, "768 MB", "2/3", 34.248, 0.947),
    Published("vanilla-1000", "naive", 60, "768 MB", "1/6", 36.013, 0.9442),
    Published("vanilla-1000", "scale", 60, "768 MB", "1/6", 24.751, 0.790),
    Published("vanilla-500", "none", 60, "385 MB", "1/3", 33.714, 0.945),
    Published("multilayer-1000", "none", 30, "3.3 GB", "2/3", 32.230, 0.947),
    Published("multilayer-1000", "naive", 30, "3.3 GB", "1/6", 32.251, 0.943),
    Published("multilayer-1000", "scale", 30, "3.3 GB", "1/6", 24.369, 0.790),
    Published("multilayer-500", "none", 30, "3.2 GB", "1/3", 32.359, 0.949),
    Published("conv4", "none", 320, "2.4 MB", "2/3", 30.364, 0.874),
    Published("conv5", "none", 320, "9.5 MB", "1/3", 29.022, 0.867),
    Published("vae", "none", 220, "410 MB", "1/12", 27.436, 0.908),
)

DEMOS = {
    "demo1": {
        "vanilla": (29.032, 0.900),
        "multilayer": (27.749, 0.896),
        "conv4": (28.357, 0.869),
        "conv5": (26.946, 0.862),
        "vae": (25.072, 0.863),
    },
    "demo2": {
        "vanilla": (31.253, 0.921),
        "multilayer": (31.041, 0.921),
        "conv4": (29.993, 0.895),
        "conv5": (28.934, 0.873),
        "vae": (27.923, 0.892),
    },
    "demo3": {
        "vanilla": (29.967, 0.896),
        "multilayer": (28.611, 0.900),
        "conv4": (28.172, 0.837),
        "conv5": (27.556, 0.849),
        "vae": (25.881, 0.871),
    },
}
"""(PSNR in dB, SSIM) of the authors' own clips, no quantizer."""


def published(network: str, quantizer: str) -> Published | None:
    """The study's row of that network and quantizer, if it has one."""
    return next((row for row in PUBLISHED if (row.network, row.quantizer) == (network, quantizer)), None)
