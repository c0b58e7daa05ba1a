"""Publishing beside a training: what is to go to the Hub goes there in a thread, through whatever breaks on the way.

The training never waits for the Hub: an epoch is a folder on the disk by the time that it is handed over. What could
not be sent stays there, and `Outbox.finish` names it.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from cyclegan.checkpoints.format import epoch_name
from cyclegan.errors import CheckpointError
from hub.errors import HubError
from hub.publish import Publisher

COMMITS_PER_HOUR = 120
"""The Hub takes 128 per repository; a few are left to people."""
FREE_COMMITS = 60
"""So many in an hour go at once; the rest of the hour's are spread over it."""
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0
STATE = "the training state"
FINISH_S = 600.0
"""How long the end of a run waits for the Hub at most: an outage of minutes must not cost the work of a week."""


class CommitBudget:
    """When the next commit to a repository may be made.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._made: deque[float] = deque()

    def spend(self) -> None:
        """Count a commit."""
        self._made.append(self._clock())

    @property
    def tight(self) -> bool:
        """Whether so many were made in the last hour that the rest has to be spread."""
        self._forget()
        return len(self._made) >= FREE_COMMITS

    def wait_s(self, *, spread: bool = True) -> float:
        """Seconds until the next commit may be made.

        Args:
            spread: keep the spacing that lasts for the whole hour; without it, only the hour's limit counts.
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
"""What to do next: ("epoch", 12), ("compare", 12), ("root", 12) or ("state", its folder)."""


class Outbox:
    """Publishes a run's epochs, and its training state, in a thread of its own.

    Args:
        publisher: of the run, found to work by `check_repository` and `check_run`.
        say: takes sentences for the person who watches; called in the thread.
        push_state: publishes a training state's folder and returns what to say of it; None if states stay here.
        budget: when commits may be made.
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
        self._handed_over: set[int] = set()
        self._last_kind = ""
        self._state: Path | None = None
        self._retrained: set[int] = set()
        self._damaged: set[int | Path] = set()
        self._in_hand: Path | None = None
        self._finishing = self._given_up = self._closed = False
        self._failures = 0
        self._not_before = 0.0
        self._asked_to_wait = False
        self._last_said = ""
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="hub", daemon=True)

    def start(self) -> Outbox:
        """Start the thread."""
        self._thread.start()
        return self

    def add(self, epoch: int, state: Path | None = None) -> None:
        """Hand over everything up to this epoch, and a training state, which takes the place of an older one.

        Args:
            epoch: the newest that is complete; later folders, of before a restart, will be trained anew.
            state: folder that is this object's from now on: removed once it was pushed or replaced.
        """
        with self._changed:
            if epoch > self._newest and epoch in self.publisher.published:
                self._retrained.add(epoch)
            self._newest = max(self._newest, epoch)
            # Noted, so that one whose folder vanishes is missed.
            self._handed_over |= {number for number in self.publisher.unpublished() if number <= self._newest}
            if state is not None:
                replaced, self._state = self._state, state
                if replaced is not None and replaced != self._in_hand:
                    shutil.rmtree(replaced, ignore_errors=True)
            self._try_anew()  # Each epoch is a new reason to try.

    def left(self) -> list[str]:
        """What has not been published, by name."""
        epochs = sorted(self._handed_over - self.publisher.published.keys())
        return [*map(epoch_name, epochs), *([STATE] if self._state else [])]

    def finish(self, patience_s: float = FINISH_S) -> list[str]:
        """Publish what is left, then end the thread; what could not be published, by name.

        Waits `patience_s` at most, and not for what will not get better by itself. KeyboardInterrupt ends the waiting.
        """
        with self._changed:
            self._finishing, hopeless = True, self._given_up
            self._try_anew()
            self._given_up = hopeless
        deadline = time.monotonic() + patience_s
        try:
            while self._thread.is_alive() and time.monotonic() < deadline:
                self._thread.join(0.2)
        except KeyboardInterrupt:
            pass
        with self._changed:
            self._given_up = self._closed = True
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
                self._failures, self._last_said, self._last_kind = 0, "", job[0]
            except CheckpointError as error:
                self._damaged.add(job[1])
                self._retrained.discard(job[1])
                self._tell(f"warning: not published: {error}")
            except HubError as error:
                self._after(error)
            except Exception as error:  # A fault of this program must not end the publishing unseen.
                self._after(HubError(
                    "publishing failed ({name}: {reason}); try again",
                    name=type(error).__name__, reason=error, temporary=True,
                ))

    def _wait_for_job(self) -> Job | None:
        """The next job, when it is time for it; None at the end."""
        with self._changed:
            while True:
                job = None if self._given_up else self._next()
                if job is None and self._finishing:
                    return None
                if job is None:
                    self._changed.wait()
                    continue
                pause = self._budget.wait_s(spread=not self._finishing)
                if pause:
                    self._say_once(
                        f"the Hub takes {COMMITS_PER_HOUR} commits an hour, and epochs come faster than that: now the "
                        "newest is published every minute, and those between at the end"
                    )
                pause = max(pause, self._not_before - time.monotonic())
                if pause <= 0:
                    return job
                self._changed.wait(pause)  # By then there may be a newer epoch.

    def _next(self) -> Job | None:
        epochs = [e for e in self.publisher.unpublished() if e <= self._newest and e not in self._damaged]
        if epochs and self._state and self._budget.tight and self._last_kind == "epoch":
            return "state", self._state  # Or there would always be an epoch that is newer.
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
            self._tell(f"epoch {what} is on the Hub: {self.publisher.repository.url}/tree/{epoch_name(what)}")
        elif kind == "compare":
            if self.publisher.holds_another(what):
                self._tell(f"epoch {what} was on the Hub already, trained before the restart; that one stays there")
            self._retrained.discard(what)
        elif kind == "root":
            self.publisher.bring_to_root(what)
            self._budget.spend()
        else:
            self._do_state(what)

    def _do_state(self, staged: Path) -> None:
        with self._changed:
            if self._state != staged:
                return  # Replaced a moment ago.
            self._in_hand = staged
        pushed = False
        try:
            self._tell(self._push_state(staged))
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
        """Say what failed, and when it will be tried again."""
        with self._changed:
            self._failures += 1
            wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._failures - 1, 30))
            self._asked_to_wait = error.retry_after_s is not None
            wait = max(wait, error.retry_after_s or 0)
            self._not_before = time.monotonic() + wait
            what = names(self.left()) or "the repository's root"
            if error.temporary:
                self._say_once(f"warning: {what} not published yet: {error.reason}", f"; next try in {wait:.0f} s")
            else:
                self._say_once(f"warning: {what} not published: {error}")
            self._given_up = not error.temporary  # Until the next epoch.

    def _try_anew(self) -> None:
        """Forget failures, but not how long the Hub asked to wait."""
        self._failures, self._given_up = 0, False
        if not self._asked_to_wait:
            self._not_before = 0.0
        self._changed.notify_all()

    def _say_once(self, sentence: str, then: str = "") -> None:
        """Say it unless it was the last thing said: an outage of an hour is one line, not a hundred."""
        if sentence != self._last_said:
            self._last_said = sentence
            self._tell(sentence + then)

    def _tell(self, sentence: str) -> None:
        if not self._closed:  # What a thread says that nobody waits for any more would only confuse.
            self._say(sentence)


def names(left: list[str]) -> str:
    """`epoch-0002, epoch-0003`, or `epoch-0002 to epoch-0140 (139)` where a list would fill the screen."""
    return f"{left[0]} to {left[-1]} ({len(left)})" if len(left) > 5 else ", ".join(left)
