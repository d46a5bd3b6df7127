"""`pacodec info`."""

import os
from typing import TYPE_CHECKING

import click

from pacodec.cli import options
from pacodec.cli.run import compared, print_json, size

if TYPE_CHECKING:
    from pacodec.metadata import Metadata

_OWN = "source"


def _codec(found: "Metadata") -> str:
    """What the GOPs hold."""
    if not found.packets:
        grid = " x ".join(map(str, found.grid))
        return f"{found.transform}, quantizer {found.quantizer}, codes {grid} a frame"
    texts = [
        f"{name} packets{', as the source had them' if coder == _OWN else ''}" for coder, name in found.packets.items()
    ]
    return "; ".join(texts)


@click.command(epilog="Example: pacodec info play.pac --json")
@click.argument("file", type=options.PATH, metavar="FILE.pac")
@options.as_json
def command(file: str, as_json: bool) -> None:
    """Show what a .pac file holds and how small it is, without decoding it."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads of numpy's that would start for nothing
    from pacodec.metadata import info

    found = info(file)
    if as_json:
        print_json({"file": file, **found.to_dict()})
        return
    rate = f"{found.bitrate_kbps:.1f} kbit/s" if found.bitrate_kbps else "no duration"
    model = f"{found.model} (sha256 {found.model_sha256[:16]}...)" if found.model and found.model_sha256 else "none"
    parts = ", ".join(f"{kind} {size(count)}" for kind, count in found.sizes.items() if count)
    state = "; ".join(found.damage) or "none found (pacodec verify looks at every byte)"
    source = found.source_bytes
    rows = {
        "video": f"{found.frames} frames of {found.width}x{found.height}, {found.fps} frames/s, {found.duration:.2f} s",
        "shown": f"rotated by {found.rotation} degrees, pixel aspect {found.pixel_aspect or '1:1'}"
        if found.rotation or found.pixel_aspect
        else "",
        "audio": f"{found.audio_tracks} tracks" if found.audio_tracks else "",
        "codec": _codec(found),
        "model": model,
        "size": f"{size(found.bytes)}, {rate}",
        "GOPs": ", ".join(f"{count} by {name}" for name, count in found.coders.items()),
        "ratio": f"{compared(found.bytes, found.raw_bytes, 'raw RGB')} ({size(found.raw_bytes)})",
        "source": f"{size(source)}, {compared(found.bytes, source, 'it')}" if source else "",
        "bytes": parts,
        "damage": ("cut short; " if found.truncated else "") + state,
        "written": f"by {found.writer}",
    }
    click.echo(file)
    for name, text in rows.items():
        if text:
            click.echo(f"  {name:8} {text}")
