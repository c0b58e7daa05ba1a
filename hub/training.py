"""What a training does with the Hub, from its first seconds to its last."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

from cyclegan.config import RunConfig
from cyclegan.errors import CheckpointError
from hub.client import patiently
from hub.errors import HubError, OtherRunError
from hub.layout import STATE_BRANCH
from hub.outbox import FINISH_S, STATE, Outbox, names
from hub.publish import Publisher
from hub.state import fetch_state, push_state, stage_state

START_TIMEOUT_S = 10.0
"""How long the Hub may be silent before the training begins."""
HURRIED_S = 20.0


class TrainingHub:
    """Publishes the epochs of a training, and on request its state.

    Args:
        config: `hub_model_id` and the other flags of the Hub.
        say: takes sentences for the person who watches.

    Raises:
        HubError: epochs can't be published there: no network, a bad token, no permission.
    """

    def __init__(self, config: RunConfig, say: Callable[[str], None]) -> None:
        self.config, self._say = config, say
        self.run = Path(config.output_dir)
        self.publisher = Publisher(
            self.run, config.hub_model_id, private=config.hub_private, license=config.hub_license
        )
        self.publisher.repository.timeout_s = START_TIMEOUT_S
        patiently(self.publisher.check_repository)
        self._outbox: Outbox | None = None

    def restore(self) -> str:
        """For a run's folder that is empty: fetch what the Hub has of it; the sentence to say.

        Raises:
            HubError: see `fetch_state`.
        """
        return patiently(lambda: fetch_state(self.publisher.repository, self.run))

    def check_run(self) -> None:
        """Make sure that the repository holds this run or none, and set tags that are missing.

        Raises:
            HubError: it holds another run, or the Hub does not answer.
        """
        repository = self.publisher.repository
        try:
            for sentence in patiently(self.publisher.check_run):
                self._say(sentence)
        except OtherRunError as error:
            here = "where its folder is, since its training state is not on the Hub"
            if STATE_BRANCH in patiently(repository.refs).branches:
                here = "with --resume auto in an empty --output_dir"
            raise HubError(
                "{reason}; choose another --hub_model_id, or continue that run {here}",
                reason=error.reason, here=here,
            ) from error
        kind = "private" if patiently(repository.is_private) else "public"
        self._say(f"publishing to {repository.url} ({kind})")

    def start(self, epoch: int) -> None:
        """Begin to publish in the background: first what an earlier process left, up to `epoch`."""
        repository = self.publisher.repository
        repository.timeout_s = None
        self._outbox = Outbox(
            self.publisher, self._say, push_state=lambda staged: push_state(repository, staged)
        ).start()
        self._outbox.add(epoch)

    def add(self, epoch: int, global_step: int, *, ending: bool) -> None:
        """Publish, in the background, the epochs up to this one, and the state of this moment if it is its turn.

        Args:
            epoch: completed epochs.
            global_step: of the training state that is on the disk.
            ending: whether the training ends here, done or stopped.
        """
        keep, _, every = self.config.hub_training_state.partition(":")
        staged = None
        if keep != "none" and (ending or keep == "every" and epoch % int(every) == 0):
            try:
                staged = stage_state(self.run, global_step)
            except (OSError, CheckpointError) as error:
                reason = getattr(error, "strerror", None) or error
                self._say(f"warning: the training state is not published this time ({reason})")
        self._outbox.add(epoch, staged)

    def finish(self, *, stopped: bool) -> bool:
        """Publish what is left; False if something is not on the Hub, which was said with the remedy then.

        Args:
            stopped: whether a signal ended the training; torchrun kills its processes 30 s after one.
        """
        if self._outbox is None:
            return True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)  # From here on, a signal ends the waiting for the Hub.
        if left := self._outbox.left():
            self._say(f"publishing what is left: {names(left)}; Ctrl-C ends it, and nothing is lost here")
        left = self._outbox.finish(HURRIED_S if stopped and "TORCHELASTIC_RUN_ID" in os.environ else FINISH_S)
        if left:
            words = ["python", "-m", "hub", "push", str(self.run), self.config.hub_model_id]
            words += ["--private"] if self.config.hub_private else []
            words += ["--training_state"] if STATE in left else []
            self._say(f"warning: not on the Hub: {names(left)}; publish later with: {shlex.join(words)}")
        return not left
