"""A plugin for imageio's v3 interface: `import pacodec.integrations.imageio`, and it reads and writes .pac files.

    import imageio.v3 as iio
    import pacodec.integrations.imageio

    iio.imwrite("play.pac", frames, fps=15)          # uint8 [n, H, W] or [n, H, W, 3], exactly
    frames = iio.imread("play.pac")
    third = iio.imread("play.pac", index=2)
    for frame in iio.imiter("play.pac"):
        ...

imageio has no entry points, so that import is what registers it. Needs the extra `pacodec[imageio]`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import EllipsisType, TracebackType
from typing import Any

import numpy as np
from imageio.config.extensions import FileExtension, extension_list, known_extensions
from imageio.config.plugins import PluginConfig, known_plugins
from imageio.core.request import RETURN_BYTES, InitializationError, IOMode, Request
from imageio.core.v3_plugin_api import ImageProperties, PluginV3
from numpy.typing import ArrayLike, NDArray

from pacodec.container import MAGIC
from pacodec.decoder import Decoder
from pacodec.errors import UsageError
from pacodec.stored_arrays import arrays_at, layout_of
from pacodec.writer import Writer

NAME = "pacodec"
SUFFIX = ".pac"


class PacodecPlugin(PluginV3):
    """Reads and writes .pac files; see imageio's `PluginV3` for what the methods are for."""

    def __init__(self, request: Request, **options: Any) -> None:
        """`options`, of writing: `fps` and others of `pacodec.Writer`; of reading: those of `pacodec.open`."""
        super().__init__(request)
        self._options = options
        self._video: Decoder | None = None
        self._writer: Writer | None = None
        if request.mode.io_mode == IOMode.read:
            if request.firstbytes[: len(MAGIC)] != MAGIC:
                raise InitializationError("no .pac file")
            self._video = Decoder(request.get_local_filename(), **options)
        elif request.extension != SUFFIX:
            raise InitializationError(f"only {SUFFIX} files are written")

    def read(self, *, index: int | EllipsisType | None = ...) -> NDArray[np.uint8]:
        """A frame, uint8 as it was stored, or without an index all of them, [n, ...]; IndexError beyond the ends."""
        video = self._reading()
        if index is None or index is ...:
            return arrays_at(video, range(len(video)))
        if not -len(video) <= index < len(video):
            raise IndexError(f"frame {index} of a video of {len(video)}")
        first = index % len(video)
        frame: NDArray[np.uint8] = arrays_at(video, range(first, first + 1))[0]
        return frame

    def write(
        self, ndimage: ArrayLike | Sequence[ArrayLike], *, is_batch: bool | None = None, **options: Any
    ) -> bytes | None:
        """Add a frame, uint8 [H, W] or [H, W, 3], or several, [n, ...]; `is_batch` says which where that is not clear.

        `options`, with the first frames only: `fps` and others of `pacodec.Writer`. Where the target is "<bytes>", that
        is all there will be, and the file is returned. UsageError for other frames, or for late options.
        """
        path = self.request.get_local_filename()
        if self._writer is None:
            self._writer = Writer(path, overwrite=True, **{**self._options, **options})
        elif options:
            raise UsageError(f"{path}: {', '.join(options)}: is decided by the first frame")
        array = np.asarray(ndimage)
        if is_batch is None:
            is_batch = isinstance(ndimage, list) or array.ndim > 3 or (array.ndim == 3 and array.shape[-1] != 3)
        for frame in array if is_batch else array[None]:
            self._writer.write(frame)
        if self.request.raw_uri != RETURN_BYTES:
            return None
        self._writer.close()
        return Path(path).read_bytes()

    def iter(self) -> Iterator[NDArray[np.uint8]]:
        """The frames in order, one in memory at a time."""
        for number in range(len(self._reading())):
            yield self.read(index=number)

    def properties(self, index: int | EllipsisType | None = ...) -> ImageProperties:
        """Shape and dtype of a frame, or of all."""
        video = self._reading()
        shape = layout_of(video).shape
        batch = index is None or index is ...
        if not batch:
            return ImageProperties(shape, np.dtype(np.uint8))
        return ImageProperties((len(video), *shape), np.dtype(np.uint8), n_images=len(video), is_batch=True)

    def metadata(self, index: int | EllipsisType | None = ..., exclude_applied: bool = True) -> dict[str, Any]:
        """What `pacodec info` says of the file; of a frame, when it is shown."""
        video = self._reading()
        if index is None or index is ...:
            return video.metadata.to_dict()
        frame = video.get_frame_at(index)
        return {"pts_seconds": frame.pts_seconds, "duration_seconds": frame.duration_seconds}

    def close(self) -> None:
        """Complete the file that is written, or release the one that is read."""
        if self._writer is not None:
            self._writer.close()
        if self._video is not None:
            self._video.close()
        self._writer = self._video = None
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._writer is not None:
            self._writer.cancel()
            self._writer = None
        self.close()

    def _reading(self) -> Decoder:
        assert self._video is not None
        return self._video


def _register() -> None:
    known_plugins[NAME] = PluginConfig(
        name=NAME, class_name=PacodecPlugin.__name__, module_name=__name__, install_name=NAME
    )
    if SUFFIX not in known_extensions:
        extension = FileExtension(name="pacodec video", extension=SUFFIX, priority=[NAME])
        known_extensions[SUFFIX] = [extension]
        extension_list.append(extension)


_register()
