"""The exception tree; each class carries the exit code that the command line ends with."""


class PacodecError(Exception):
    """Base of everything pacodec raises on purpose; the message is one line that names the file and the cause."""

    exit_code = 1


class FileAccessError(PacodecError):
    """The operating system would not read or write a file, or the target exists already."""

    exit_code = 1


class UsageError(PacodecError):
    """Options that contradict each other, or a value out of its range."""

    exit_code = 2


class CorruptFileError(PacodecError):
    """A file that is damaged, cut short, or not what it should be."""

    exit_code = 3


class UnsupportedError(PacodecError):
    """A file of a newer version, or one that needs a feature this reader lacks."""

    exit_code = 4


class EstimateError(UnsupportedError):
    """A way of storing footage does not serve after all: its packets do not stand alone, or another takes less."""


class ModelError(UnsupportedError):
    """The model that a file or an option names is missing, or is not the one the file was made with."""


class LimitError(PacodecError):
    """A declared size is over a bound of `pacodec.limits`."""

    exit_code = 5


class QualityError(PacodecError):
    """The requested quality cannot be reached."""

    exit_code = 6
