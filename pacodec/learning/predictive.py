"""From recordings to the model file of a learned predictor, and what it reaches."""

import math
from time import monotonic

import numpy as np
import torch

from pacodec.learning.batches import probe
from pacodec.learning.export import Arrays, export, hyperparameters
from pacodec.learning.fit_filter import filtered_psnr, fit_filter
from pacodec.learning.fit_predictor import bits_per_frame, checksum, fit_predictor
from pacodec.learning.footage import load_codes
from pacodec.learning.report import flag_bits, peers
from pacodec.learning.request import Request, Trained
from pacodec.learning.screens import choose_screens
from pacodec.predictors.learned import PREDICTIVE
from pacodec.predictors.network import Geometry
from pacodec.transforms.postfilter import POSTFILTER, PostFilter
from pacodec.weights import ModelInfo, dump_arrays

GEOMETRY = Geometry(radii=(3, 3, 2, 2, 2, 2), dilation=2, history=4, hold=6, embedding=8, hidden=128, layers=2)
FILTER_SHARE = 0.25
"""Of the time to train in, what noisy footage spends on its post-filter."""
TEST_FRAMES, TEST_PIXELS = 240, 400_000
"""Of the held-out part, what the network is measured on: evenly spread."""


def train_predictor(request: Request) -> Trained:
    """Learn palette, screens and network from the request's clips; see `pacodec.training.train`."""
    size = request.size and request.size[::-1]
    footage = load_codes(request.clips, request.validation, request.test, size, GEOMETRY.hold)
    seen = f"; {footage.left_out} more found no room in memory" if footage.left_out else ""
    request.report(f"{sum(map(len, footage.train))} frames to train on{seen}; {footage.split}")
    screens = choose_screens(footage.train)
    reached, worst = round(float(np.mean(footage.psnr)), 3), round(min(footage.psnr), 3)
    if footage.noise:
        request.report("noisy footage: a pixel's code stays until a change is worth its price")
    request.report(f"{len(footage.palette)} colours give {reached:.1f} dB held out; {len(screens)} known screens")
    shape = {**hyperparameters(GEOMETRY, screens), "noise": footage.noise}
    correcting: Arrays = {}
    if footage.noise:
        left = request.minutes * 60 - (monotonic() - request.began)
        fitted = fit_filter(request, footage, left * FILTER_SHARE)
        correcting, shape[POSTFILTER] = fitted.export(), [*vars(fitted.shape).values()]
        values = filtered_psnr(PostFilter(correcting, fitted.shape), footage)
        reached, worst = round(float(np.mean(values)), 3), round(min(values), 3)
        request.report(f"the post-filter makes that {reached:.1f} dB")
    network, steps = fit_predictor(request, footage, screens, GEOMETRY)
    network.cpu()
    frames = sum(map(len, footage.test))
    held = probe(footage.test, GEOMETRY, TEST_FRAMES, TEST_PIXELS)
    ours = bits_per_frame(network, held, torch.device("cpu")) + flag_bits(footage.test, held.surprises)
    bits = {PREDICTIVE: round(ours, 1), **peers(footage.test, footage.palette)}
    quality = {
        "psnr": reached,
        "psnr_low": worst,
        "frames": frames,
        "bits_per_frame": bits,
        "kbps": round(ours * footage.frame_rate / 1000, 3),
        "frame_rate": round(footage.frame_rate, 3),
    }
    training = {
        "clips": len(footage.train),
        "frames": sum(map(len, footage.train)),
        "checksum": checksum(footage),
        "steps": steps,
        "seconds": round(monotonic() - request.began),
        "split": footage.split,
    }
    arrays = export(network, footage.palette, screens) | correcting
    if footage.shades:
        arrays["shades"] = np.frombuffer(footage.shades, np.uint8)
    data = dump_arrays(arrays, ModelInfo(PREDICTIVE, shape, training, quality))
    return Trained(
        data=data,
        steps=steps,
        psnr=reached,
        psnr_low=worst,
        test_frames=frames,
        split=footage.split,
        code_values=math.prod(footage.train[0].shape),
        bits=bits,
    )
