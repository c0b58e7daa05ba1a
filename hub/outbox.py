"""Publishing during a training: a thread sends epochs to the Hub, and retries after any failure.

The training never waits for the Hub: an epoch is a folder on the disk before it is queued. `Outbox.finish` names the
epochs that could not be sent; their folders are kept.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from cyclegan.checkpoints.format import epoch_name
from cyclegan.errors import CheckpointError, message
from hub.errors import HubError
from hub.publish import Publisher

COMMITS_PER_HOUR = 120
"""The Hub accepts 128 per repository; a few are left to people."""
FREE_COMMITS = 60
"""Commits per hour without a pause; later ones are spaced out."""
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0
STATE = "the training state"
FINISH_S = 600.0
"""The longest that the end of a run waits for the Hub, because an outage of minutes must not cost a week's work."""


class CommitBudget:
    """The times of commits to a repository, and the wait until the next one.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._made: deque[float] = deque()

    def spend(self) -> None:
        """Count a commit."""
        self._made.append(self._clock())

    @property
    def tight(self) -> bool:
        """True after so many commits in the last hour that the others have to be spread."""
        self._forget()
        return len(self._made) >= FREE_COMMITS

    def wait_s(self, *, spread: bool = True) -> float:
        """Return the seconds until the next commit may be made.

        Args:
            spread: space commits so that they last for the whole hour; False applies only the hour's limit.
        """
        self._forget()
        now = self._clock()
        if len(self._made) >= COMMITS_PER_HOUR:
            return max(0.0, self._made[-COMMITS_PER_HOUR] + 3600 - now)
        if spread and self.tight:
            return max(0.0, self._made[-1] + 3600 / (COMMITS_PER_HOUR - FREE_COMMITS) - now)
        return 0.0

    def _forget(self) -> None:
        while self._made and self._made[0] <= self._clock() - 3600:
            self._made.popleft()


Job = tuple[str, int | Path]
"""The next step: ("epoch", 12), ("compare", 12), ("root", 12) or ("state", its folder)."""


class Outbox:
    """Publishes a run's epochs, and its training state, in a thread of its own.

    Args:
        publisher: of the run, after its `check_repository` and `check_run`.
        say: gets sentences for the person who watches; called in the thread.
        push_state: publishes a training state's folder and returns a sentence about it; None to publish none.
        budget: the limit on commits.
    """

    def __init__(
        self,
        publisher: Publisher,
        say: Callable[[str], None],
        *,
        push_state: Callable[[Path], str] | None = None,
        budget: CommitBudget | None = None,
    ) -> None:
        self.publisher, self._say = publisher, say
        self._push_state, self._budget = push_state, budget or CommitBudget()
        self._newest = 0
        self._queued: set[int] = set()
        self._last_kind = ""
        self._state: Path | None = None
        self._retrained: set[int] = set()
        self._damaged: set[int | Path] = set()
        self._in_hand: Path | None = None
        self._finishing = self._given_up = self._closed = False
        self._failures = 0
        self._not_before = 0.0
        self._asked_to_wait = False
        self._last_reported = ""
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="hub", daemon=True)

    def start(self) -> Outbox:
        """Start the thread."""
        self._thread.start()
        return self

    def add(self, epoch: int, state: Path | None = None) -> None:
        """Queue every epoch up to this one, and a training state, which replaces an older queued one.

        Args:
            epoch: the newest complete one; later folders are from before a restart and will be overwritten.
            state: folder that belongs to this object from now on: removed once it was pushed or replaced.
        """
        with self._changed:
            if epoch > self._newest and epoch in self.publisher.published:
                self._retrained.add(epoch)
            self._newest = max(self._newest, epoch)
            # Recorded, so that `left` names an epoch whose folder has vanished.
            self._queued |= {number for number in self.publisher.unpublished() if number <= self._newest}
            if state is not None:
                replaced, self._state = self._state, state
                if replaced is not None and replaced != self._in_hand:
                    shutil.rmtree(replaced, ignore_errors=True)
            self._forget_failures()  # A new epoch resets the delay.

    def left(self) -> list[str]:
        """Return the names of what has not been published."""
        epochs = sorted(self._queued - self.publisher.published.keys())
        return [*map(epoch_name, epochs), *([STATE] if self._state else [])]

    def finish(self, patience_s: float = FINISH_S) -> list[str]:
        """Publish what is left, end the thread, and return the names of what could not be published.

        Waits `patience_s` at most, and not after an error that waiting won't fix. KeyboardInterrupt ends the waiting.
        """
        with self._changed:
            self._finishing, hopeless = True, self._given_up
            self._forget_failures()
            self._given_up = hopeless
        deadline = time.monotonic() + patience_s
        try:
            while self._thread.is_alive() and time.monotonic() < deadline:
                self._thread.join(0.2)
        except KeyboardInterrupt:
            pass
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            left = self.left()
            if self._state and not self._thread.is_alive():
                shutil.rmtree(self._state, ignore_errors=True)
        return left

    # --- the thread -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            job: Job = "", 0
            try:
                if (job := self._wait_for_job()) is None:
                    return
                self._do(*job)
                self._failures, self._last_reported, self._last_kind = 0, "", job[0]
            except CheckpointError as error:
                self._damaged.add(job[1])
                self._retrained.discard(job[1])
                self._report(f"warning: not published: {error}")
            except HubError as error:
                self._after(error)
            except Exception as error:  # A bug of this program must not end the publishing silently.
                self._after(HubError(
                    "publishing failed ({kind}: {reason})", kind=type(error).__name__, reason=error, temporary=True,
                    remedy=message("try again"),
                ))

    def _wait_for_job(self) -> Job | None:
        """Wait until the next job is due and return it; None at the end."""
        with self._changed:
            # An error that arrives after `finish` has stopped waiting must not open the outbox again.
            while not self._closed:
                job = None if self._given_up else self._next()
                if job is None and self._finishing:
                    return None
                if job is None:
                    self._changed.wait()
                    continue
                pause = self._budget.wait_s(spread=not self._finishing)
                if pause:
                    self._report_once(
                        f"the Hub accepts {COMMITS_PER_HOUR} commits an hour, and epochs are faster than that: now the "
                        "newest is published every minute, and those between at the end"
                    )
                pause = max(pause, self._not_before - time.monotonic())
                if pause <= 0:
                    return job
                self._changed.wait(pause)  # Choose again afterwards: there may be a newer epoch.
        return None

    def _next(self) -> Job | None:
        epochs = [e for e in self.publisher.unpublished() if e <= self._newest and e not in self._damaged]
        if epochs and self._state and self._budget.tight and self._last_kind == "epoch":
            return "state", self._state  # Otherwise a newer epoch would always come first.
        if epochs:
            return "epoch", epochs[-1] if self._budget.tight and not self._finishing else epochs[0]
        if self._retrained:
            return "compare", min(self._retrained)
        behind = self.publisher.epoch_behind_root()
        if behind and behind not in self._damaged:
            return "root", behind
        return ("state", self._state) if self._state and self._state not in self._damaged else None

    def _do(self, kind: str, what: int | Path) -> None:
        if kind == "epoch":
            self.publisher.publish(what)
            self._budget.spend()
            self._report(f"epoch {what} is on the Hub: {self.publisher.repository.url}/tree/{epoch_name(what)}")
        elif kind == "compare":
            if self.publisher.holds_another(what):
                self._report(f"epoch {what} was on the Hub already, trained before the restart; it is kept there")
            self._retrained.discard(what)
        elif kind == "root":
            self.publisher.bring_to_root(what)
            self._budget.spend()
        else:
            self._do_state(what)

    def _do_state(self, staged: Path) -> None:
        with self._changed:
            if self._state != staged:
                return  # A newer one has just replaced it.
            self._in_hand = staged
        pushed = False
        try:
            self._report(self._push_state(staged))
            self._budget.spend()
            pushed = True
        finally:
            with self._changed:
                self._in_hand = None
                if pushed and self._state == staged:
                    self._state = None
                if self._state != staged:
                    shutil.rmtree(staged, ignore_errors=True)

    def _after(self, error: HubError) -> None:
        """Report what failed, and plan the next attempt."""
        with self._changed:
            self._failures += 1
            wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._failures - 1, 30))
            self._asked_to_wait = error.retry_after_s is not None
            wait = max(wait, error.retry_after_s or 0)
            self._not_before = time.monotonic() + wait
            what = names(self.left()) or "the repository's root"
            if error.temporary:
                self._report_once(f"warning: {what} not published yet: {error.reason}", f"; next try in {wait:.0f} s")
            else:
                self._report_once(f"warning: {what} not published: {error}")
            self._given_up = not error.temporary  # Until the next epoch.

    def _forget_failures(self) -> None:
        """Try again at once, unless the Hub asked to wait."""
        self._failures, self._given_up = 0, False
        if not self._asked_to_wait:
            self._not_before = 0.0
        self._changed.notify_all()

    def _report_once(self, sentence: str, then: str = "") -> None:
        """Report it unless it was the last thing reported: an outage of an hour is one line, not a hundred."""
        if sentence != self._last_reported:
            self._last_reported = sentence
            self._report(sentence + then)

    def _report(self, sentence: str) -> None:
        if not self._closed:  # Nobody waits for the thread any more, so its lines would only confuse.
            self._say(sentence)


def names(left: list[str]) -> str:
    """Return `epoch-0002, epoch-0003`, or `epoch-0002 to epoch-0140 (139)` for a long list."""
    return f"{left[0]} to {left[-1]} ({len(left)})" if len(left) > 5 else ", ".join(left)
