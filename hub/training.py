"""A training's use of the Hub, from its first seconds to its last."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

from cyclegan.config import RunConfig
from cyclegan.errors import CheckpointError, message
from cyclegan.files import read_json
from hub.client import patiently
from hub.errors import HubError, OtherRunError
from hub.layout import STATE_BRANCH
from hub.outbox import FINISH_S, STATE, Outbox, names
from hub.publish import Publisher
from hub.state import fetch_state, push_state, stage_state

START_TIMEOUT_S = 10.0
"""Seconds that the Hub may be silent before the training begins."""
HURRIED_S = 20.0
"""The longest wait at the end of a training that torchrun is about to kill."""


def run_settings(run: Path) -> tuple[str | None, str | None]:
    """Return the id of the run in a folder, and the repository that its training published to; None where unknown.

    Raises:
        CheckpointError: run.json is damaged.
    """
    if not (run / "run.json").is_file():
        return None, None
    values = read_json(run / "run.json", error=CheckpointError)
    config = values.get("config")
    settings = config.get("run") if isinstance(config, dict) else None
    repo_id = settings.get("hub_model_id") if isinstance(settings, dict) else None
    return values.get("run_id"), repo_id or None


class TrainingHub:
    """Publishes the epochs of a training, and on request its state.

    Args:
        config: `hub_model_id` and the other flags of the Hub.
        say: gets sentences for the person who watches.

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
        """Fetch the Hub's training state into an empty run's folder; return a sentence, empty if there is none.

        Raises:
            HubError: see `fetch_state`.
        """
        return patiently(lambda: fetch_state(self.publisher.repository, self.run))

    def check_run(self) -> None:
        """Make sure that the repository holds this run or none, and set missing tags.

        Raises:
            HubError: it holds another run, or the Hub does not answer.
        """
        repository = self.publisher.repository
        try:
            for sentence in patiently(self.publisher.check_run):
                self._say(sentence)
        except OtherRunError as error:
            remedy = message(
                "choose another --hub_model_id, or continue that run where its folder is, because its training state "
                "is not on the Hub"
            )
            if STATE_BRANCH in patiently(repository.refs).branches:
                remedy = message(
                    "choose another --hub_model_id, or continue that run with --resume auto in an empty --output_dir"
                )
            raise HubError(error.reason, remedy=remedy) from error
        kind = "private" if patiently(repository.is_private) else "public"
        self._say(f"publishing to {repository.url} ({kind})")

    def start(self, epoch: int) -> None:
        """Start publishing in the background, with the epochs up to `epoch` that an earlier process left."""
        repository = self.publisher.repository
        repository.timeout_s = None
        self._outbox = Outbox(
            self.publisher, self._say, push_state=lambda staged: push_state(repository, staged)
        ).start()
        self._outbox.add(epoch)

    def add(self, epoch: int, global_step: int, *, ending: bool) -> None:
        """Publish the epochs up to this one in the background, and the training state if it is due.

        Args:
            epoch: completed epochs.
            global_step: of the training state on the disk.
            ending: the training ends here, done or stopped.
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
        """Publish what is left; report what could not be published, with the remedy, and return False then.

        Args:
            stopped: a signal ended the training; torchrun kills its processes 30 s after one.
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
