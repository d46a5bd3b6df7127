"""What tests of training listen with."""

from pacodec.learning.loop import Progress


class Stopping(list):
    """Collects progress, and stops the training as Ctrl-C would at the validation of that number."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.stop_at = stop_at

    def __call__(self, message):
        if isinstance(message, Progress):
            self.append(message)
            if len(self) == self.stop_at:
                raise KeyboardInterrupt
