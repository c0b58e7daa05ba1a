"""The hooks by which a training publishes its epochs; `hub.training.TrainingHub` has the same."""

from __future__ import annotations

from cyclegan.errors import Message


class Publishing:
    """Hooks of a training that publishes nothing."""

    def restore(self) -> Message | str | None:
        """For an empty run's folder: fetch what was published of it, and return a note about it."""
        return None

    def check_run(self) -> None:
        """Check that this run may be published there, before any training."""

    def start(self, epoch: int) -> None:
        """Begin to publish in the background, first the epochs up to `epoch`."""

    def add(self, epoch: int, global_step: int, *, ending: bool) -> None:
        """Publish the epochs up to this one; called as soon as its files are written.

        Args:
            epoch: completed epochs.
            global_step: of the training state that is on the disk.
            ending: True if the training ends here, done or stopped.
        """

    def finish(self, *, stopped: bool) -> bool:
        """Publish the rest, and return True if nothing is left.

        Args:
            stopped: True if a signal ended the training.
        """
        return True
