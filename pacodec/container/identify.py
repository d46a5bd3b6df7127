"""Whether a file is a .pac file, and whether an output may become one."""

from pathlib import Path

from pacodec.common.files import STANDARD_STREAM
from pacodec.container.header import MAGIC
from pacodec.errors import FileAccessError, UsageError

PAC_SUFFIX = ".pac"
FOREIGN_SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".vob", ".flv"),
        *(".wmv", ".ogv", ".3gp", ".h264", ".h265", ".hevc", ".264", ".265", ".ivf", ".y4m"),
        *(".gif", ".webp", ".png", ".apng", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"),
        *(".mp3", ".m4a", ".wav", ".pacmodel"),
    }
)
"""Of files that nobody takes a .pac file for."""


def check_pac_target(target: str) -> None:
    """Refuse a name that says that the .pac file to be written is something else, or a file that is something else.

    Raises UsageError for a suffix of videos and pictures, and for an existing file that is neither empty nor a .pac
    file and is not called one.
    """
    path = Path(target)
    suffix = path.suffix.lower()
    if target == STANDARD_STREAM or suffix == PAC_SUFFIX:
        return
    if suffix in FOREIGN_SUFFIXES:
        better = path.with_suffix(PAC_SUFFIX)
        raise UsageError(f"{target}: would be a .pac file in spite of its suffix; call it {better}")
    if path.is_file() and not is_pac(path) and path.stat().st_size:
        raise UsageError(f"{target}: is there, and not a .pac file; give the output a name that ends in {PAC_SUFFIX}")


def is_pac(path: Path) -> bool:
    """Whether a file begins as a .pac file does; FileAccessError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError) as error:
        raise FileAccessError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
