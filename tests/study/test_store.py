"""The database of sessions and votes, on SQLite and on a real PostgreSQL, through what breaks on the way."""

import dataclasses
import json
import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from cyclegan.errors import StudyError
from cyclegan.study import session as rules
from cyclegan.study import store as db
from cyclegan.study.refusals import SessionError
from cyclegan.study.store import Store, StoreBusy, copies, database, database_url, exclusions
from cyclegan.study.votes import SIZES

ROOT = Path(__file__).parent.parent.parent


def count(store, table):
    return store.read(lambda c: c.scalar(sa.select(sa.func.count()).select_from(table)))


# --- opening ------------------------------------------------------------------------------------------------


def test_where_votes_go(tmp_path, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert database_url(tmp_path) == f"sqlite:///{tmp_path}/votes.sqlite3"
    monkeypatch.chdir(tmp_path)
    assert database_url("study") == f"sqlite:///{tmp_path}/study/votes.sqlite3"
    for scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        monkeypatch.setenv("DATABASE_URL", f"{scheme}://user:secret@host/name")
        with Store(database_url(tmp_path)) as store:
            assert store.url.drivername == "postgresql+psycopg" and store.url.password == "secret"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("votes", "valid database address"),
        ("mysql://host/name", "use sqlite or postgresql"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
    ],
)
def test_addresses_that_hold_no_votes(url, sentence):
    with pytest.raises(StudyError, match=sentence):
        Store(url)


def test_a_file_is_made_on_first_use_only(small_study, tmp_path):
    study, path = small_study(), tmp_path / "votes.sqlite3"
    with Store(f"sqlite:///{path}") as store:
        assert len(store.votes(study)) == len(store.sessions(study)) == len(store.rows(study)) == 0
        with pytest.raises(StudyError, match="no participant 'alice'"):
            store.forget(study, "alice")
        assert not path.exists()
        rules.StudySessions(study, store).begin("alice", language="en", screen={}, address=None)
        assert path.exists()


def test_a_folder_that_is_not_there_and_a_file_that_is_no_database(small_study, tmp_path):
    study = small_study()
    (tmp_path / "text.sqlite3").write_text("no database, " * 1000)
    for name, sentence in (("nowhere/votes.sqlite3", "check the folder"), ("text.sqlite3", "restore it from a copy")):
        with Store(f"sqlite:///{tmp_path / name}") as store, pytest.raises(StudyError, match=sentence) as caught:
            rules.StudySessions(study, store).begin("alice", language="en", screen={}, address=None)
        assert not isinstance(caught.value, StoreBusy)


def test_a_server_that_is_not_there(small_study):
    with Store("postgresql://user:secret@127.0.0.1:1/name") as store:
        with pytest.raises(StoreBusy) as caught:
            store.votes(small_study())
        assert "secret" not in str(caught.value)


def test_an_older_database_is_migrated_and_a_newer_one_refused(make_store, monkeypatch):
    def names(store):
        return store.read(lambda c: c.scalars(sa.select(db.migrations.c.name).order_by("name")).all())

    old = make_store()
    mine = ["2026-11-21-start", "2026-11-29-places", "2026-11-29-replies",
            "2026-11-29-sizes-and-ratings"]
    assert names(old) == mine

    def add_note(connection):
        connection.exec_driver_sql("ALTER TABLE sessions ADD COLUMN note TEXT")

    with monkeypatch.context() as newer:
        newer.setattr(database, "MIGRATIONS", [*database.MIGRATIONS, ("2027-01-01-note", add_note)])
        migrated = make_store()
        assert names(migrated) == [*mine, "2027-01-01-note"]
        assert migrated.read(lambda c: c.exec_driver_sql("SELECT note FROM sessions").all()) == []
        assert names(make_store()) == names(migrated)  # And not again.
    with pytest.raises(StudyError, match=r"newer version of this program \(2027-01-01-note\): update"):
        names(make_store())


def test_votes_of_a_database_without_sizes_and_ratings_are_still_there(make_play, participant, make_store):
    play = make_play()
    participant(play).finish()
    later = ["rating", "exposure_left_clock_ms", "exposure_right_clock_ms", "stacked", *SIZES]

    def age(connection):
        for name in later:
            connection.exec_driver_sql(f"ALTER TABLE votes DROP COLUMN {name}")
        connection.execute(db.migrations.delete().where(db.migrations.c.name == "2026-11-29-sizes-and-ratings"))

    play.store.write(age)
    votes = make_store().votes(play.study)
    assert len(votes) == 8 and votes[later].isna().all(axis=None) and set(votes["response_ms"]) == {640}


def test_a_migration_that_fails_leaves_nothing_behind(make_store, monkeypatch):
    make_store().read(lambda c: None)

    def broken(connection):
        connection.exec_driver_sql("ALTER TABLE sessions ADD COLUMN note TEXT")
        raise StudyError("half way")

    with monkeypatch.context() as newer:
        newer.setattr(database, "MIGRATIONS", [*database.MIGRATIONS, ("2027-01-01-note", broken)])
        with pytest.raises(StudyError, match="half way"):
            make_store().read(lambda c: None)
    columns = make_store().read(lambda c: {column["name"] for column in sa.inspect(c).get_columns("sessions")})
    assert "note" not in columns and "secret_hash" in columns


def test_processes_that_open_a_new_database_at_once(database):
    program = (
        "import sys\nfrom cyclegan.study.store import Store\n"
        "with Store(sys.argv[1]) as store:\n    print('ready', flush=True)\n    sys.stdin.readline()\n"
        "    print(store.setting('token_key'))\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, database]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": ROOT, "text": True}
    started = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 3
    assert len(set(said)) == 1 and len(said[0].strip()) == 64


def test_opening_waits_for_another_process_that_is_at_it(make_store, store, monkeypatch, tmp_path):
    monkeypatch.setattr(database, "BUSY_S", 0.1)
    waiting = make_store()
    if store.sqlite:
        other = sqlite3.connect(tmp_path / "votes.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
    else:
        other = sa.create_engine(store.url, poolclass=sa.NullPool).connect()
        other.execute(sa.select(sa.func.pg_advisory_xact_lock(database.LOCK_KEY)))
    with pytest.raises(StoreBusy):
        waiting.setting("key")
    other.close()
    assert waiting.setting("key") == store.setting("key")


def test_the_wait_for_the_disk(store, tmp_path):
    """A vote is acknowledged once it is on the disk; what is not worth that wait is not waited for."""
    if store.sqlite:
        seen = [
            store.write(lambda c: c.exec_driver_sql("PRAGMA synchronous").scalar(), durable=durable)
            for durable in (True, False)
        ]
        assert seen == [2, 1]  # FULL, NORMAL.
        assert store.read(lambda c: c.exec_driver_sql("PRAGMA journal_mode").scalar()) == "wal"
    else:
        for durable, expected in ((True, "on"), (False, "off")):
            shown = store.write(lambda c: c.exec_driver_sql("SHOW synchronous_commit").scalar(), durable=durable)
            assert shown == expected


# --- what breaks on the way ---------------------------------------------------------------------------------


def test_work_that_fails_leaves_nothing_behind(store):
    def work(connection):
        store.add(connection, db.settings, {"key": "half", "value": "done"})
        raise SessionError("gone")

    with pytest.raises(SessionError):
        store.write(work)
    assert count(store, db.settings) == 0


def test_work_that_another_one_was_in_the_way_of_is_done_again(store):
    tries = []

    def work(connection):
        tries.append(connection.scalar(sa.select(sa.func.count()).select_from(db.settings)))
        connection.execute(db.settings.insert(), {"key": f"key-{len(tries)}", "value": ""})
        if len(tries) < 3:
            connection.execute(db.settings.insert(), {"key": f"key-{len(tries)}", "value": ""})

    store.write(work)
    assert tries == [0, 0, 0] and count(store, db.settings) == 1


def test_a_locked_database_takes_nothing_and_forgets_nothing(make_play, participant, store, monkeypatch, tmp_path):
    monkeypatch.setattr(database, "BUSY_S", 0.1)  # Before the first connection is made.
    store = Store(store.url.render_as_string(hide_password=False))
    play = make_play()
    play.store = store
    alice = participant(play)
    alice.look()
    if store.sqlite:
        other = sqlite3.connect(tmp_path / "votes.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        release = other.close
    else:
        other = sa.create_engine(store.url, poolclass=sa.NullPool).connect()
        other.execute(sa.select(db.sessions).with_for_update(key_share=True))  # As another server would.
        release = other.close
    with pytest.raises(SessionError) as caught:
        play.vote(alice.secret, alice.token, alice.answer())
    assert caught.value.code == "busy" and isinstance(caught.value.__cause__, StoreBusy)
    with pytest.raises(SessionError, match="Please wait"):
        play.state(alice.secret)
    release()
    assert len(store.votes(play.study)) == 0
    ack = play.vote(alice.secret, alice.token, alice.answer())
    assert not ack.duplicate and len(store.votes(play.study)) == 1 and len(store.incidents(play.study)) == 0
    store.close()


def test_a_full_disk_takes_nothing_and_forgets_nothing(small_study, participant, tmp_path):
    with Store(f"sqlite:///{tmp_path / 'votes.sqlite3'}") as store:
        play = rules.StudySessions(small_study(test_trials=12, scenes=40), store)
        alice = participant(play)

        def limit(pages):
            for engine in ("durable", "quick"):
                with store._engines[engine].execution_options(begin="").connect() as connection:
                    connection.exec_driver_sql(f"PRAGMA max_page_count={pages}").scalar()

        kept = 0
        limit(1)  # No more than it has.
        try:
            while alice.state.trial is not None:
                alice.vote()
                kept += 1
        except SessionError as error:
            assert error.code == "busy" and "full" in str(error.__cause__)
        assert alice.state.trial is not None, "the disk was never full"
        assert len(store.votes(play.study)) == kept
        with pytest.raises(SessionError, match="Please wait"):
            for n in range(100):
                participant(play, f"p{n}")
        limit(10**6)
        alice.state = play.state(alice.secret)
        alice.finish()
        assert alice.state.phase == "done" and len(store.votes(play.study)) == 14


def test_a_lost_connection_is_made_again(postgresql, small_study, participant, tmp_path):
    url = postgresql.url.update_query_dict({"options": "-csearch_path=lost"})
    with postgresql.connect() as admin, Store(url.render_as_string(hide_password=False)) as store:
        admin.exec_driver_sql("CREATE SCHEMA lost")
        play = rules.StudySessions(small_study(), store)
        alice = participant(play)
        alice.vote()

        def cut():
            mine = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = "
            admin.exec_driver_sql(mine + "current_database() AND backend_type = 'client backend'").all()

        cut()
        alice.look()  # Nobody notices: it was idle.

        def work(connection):
            store.add(connection, db.settings, {"key": "half", "value": "done"})
            cut()
            connection.exec_driver_sql("SELECT 1")

        with pytest.raises(StoreBusy, match="try again in a moment"):
            store.write(work)
        ack = play.vote(alice.secret, alice.token, alice.answer())
        assert ack.recorded and not ack.duplicate
        assert store.read(lambda c: c.scalar(sa.select(sa.func.count()).where(db.settings.c.key == "half"))) == 0
        assert len(store.votes(play.study)) == 2


@pytest.mark.parametrize("replaced", [False, True])
def test_no_vote_is_acknowledged_into_a_file_that_was_removed(small_study, participant, tmp_path, replaced):
    path = tmp_path / "votes.sqlite3"
    with Store(f"sqlite:///{path}") as store:
        play = rules.StudySessions(small_study(), store)
        alice = participant(play)
        alice.look()
        for name in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            name.unlink(missing_ok=True)
        if replaced:
            with Store(f"sqlite:///{path}") as other:
                rules.StudySessions(play.study, other).begin("bob", language="en", screen={}, address=None)
        with pytest.raises(SessionError, match="busy|wait|moment"):
            play.vote(alice.secret, alice.token, alice.answer())
        with pytest.raises(SessionError, match="session") as caught:  # What is there now is used from here on.
            play.vote(alice.secret, alice.token, alice.answer())
        assert caught.value.code == "no_session"
        assert len(store.sessions(play.study)) == int(replaced)


def test_sessions_of_a_study_before_it_was_changed_are_counted(small_study, store, participant):
    study = small_study()
    participant(rules.StudySessions(study, store))
    assert store.others(study) == 0 and store.others(dataclasses.replace(study, title="Another")) == 1


def test_every_acknowledged_vote_outlives_a_kill(small_study, tmp_path):
    study, url = small_study(test_trials=20, scenes=60), f"sqlite:///{tmp_path / 'votes.sqlite3'}"
    program = (
        "import sys\nsys.path.insert(0, sys.argv[3])\n"
        "from cyclegan.study import format, session, store\nimport conftest\n"
        "play = session.StudySessions(format.read_study(sys.argv[1]), store.Store(sys.argv[2]))\n"
        "for n in range(100):\n    alice = conftest.Participant(play, f'p{n}')\n"
        "    while alice.state.trial is not None:\n        alice.vote()\n        print(n, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(study.folder), url, str(Path(__file__).parent)],
        stdout=subprocess.PIPE, cwd=ROOT, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    acknowledged = [process.stdout.readline() for _ in range(30)]
    process.kill()
    acknowledged += process.communicate()[0].splitlines()
    with Store(url) as store:
        votes = store.votes(study)
        assert len(acknowledged) <= len(votes) <= len(acknowledged) + 1
        for _, mine in votes.groupby("session_id"):
            assert sorted(mine["trial_index"]) == list(range(len(mine)))


@pytest.fixture
def together(tmp_path):
    """A store on SQLite, and a way to have works wait for one another and then be done in one transaction."""
    with Store(f"sqlite:///{tmp_path / 'together.sqlite3'}") as store:
        store.setting("opened")
        store.commits = []
        for name in ("durable", "quick"):
            sa.event.listen(store._engines[name], "commit", lambda c, name=name: store.commits.append(name))

        def run(*works, durable=True):
            begun, release = threading.Event(), threading.Event()

            def attempt(work, durable=durable):
                try:
                    return store.write(work, durable=durable)
                except Exception as error:
                    return error

            with ThreadPoolExecutor(len(works) + 1) as pool:
                first = pool.submit(attempt, lambda c: (begun.set(), release.wait(30)))
                begun.wait(300)
                results = [pool.submit(attempt, work) for work in works]
                while len(store._waiting) + sum(result.done() for result in results) < len(works):
                    threading.Event().wait(0.001)
                release.set()
                first.result()
                return [result.result() for result in results]

        yield store, run


def keep(key, value=""):
    """Work that adds a setting."""
    return lambda connection: connection.execute(db.settings.insert(), {"key": key, "value": value}).rowcount


def kept(store):
    return set(store.read(lambda c: c.scalars(sa.select(db.settings.c.key)).all())) - {"opened"}


def test_who_waits_shares_a_transaction_and_only_that(together):
    store, run = together

    def refuse(connection):
        keep("refused")(connection)
        raise SessionError("gone")

    results = run(keep("a"), refuse, keep("b"))
    assert [results[0], results[2]] == [1, 1] and results[1].code == "gone"
    assert kept(store) == {"a", "b"} and store.commits == ["durable"] * 2
    run(keep("c"), keep("d"), durable=False)
    assert kept(store) == {"a", "b", "c", "d"} and store.commits == ["durable"] * 2 + ["quick"] * 2


def test_a_key_that_is_taken_is_nobody_elses_trouble(together):
    store, run = together
    tries = []

    def again(connection):
        tries.append(1)
        return keep("a" if len(tries) == 1 else "mine")(connection)

    assert run(keep("a"), again, keep("b")) == [1, 1, 1] and kept(store) == {"a", "mine", "b"}


def test_work_that_spoils_a_transaction_is_done_alone(together):
    store, run = together
    results = run(keep("a"), lambda c: c.exec_driver_sql("SELECT * FROM nowhere"), keep("b"))
    assert [results[0], results[2]] == [1, 1] and isinstance(results[1], StudyError) and kept(store) == {"a", "b"}


def test_what_is_acknowledged_is_there_if_the_disk_fills_up_in_a_shared_transaction(together):
    store, run = together
    with store._engines["bare"].connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1").scalar()
    results = run(keep("a"), keep("large", "x" * 10**6), keep("b"))
    assert isinstance(results[1], StoreBusy)
    assert kept(store) == {key for key, result in zip("a-b", results, strict=True) if result == 1}


def test_who_waits_too_long_is_told_and_leaves_nothing(together, monkeypatch):
    monkeypatch.setattr(database, "TURN_S", 0.05)
    store, _ = together

    def slow(connection):
        with pytest.raises(StoreBusy, match="nothing was recorded"):
            thread.submit(store.write, keep("late")).result()

    with ThreadPoolExecutor(1) as thread:
        store.write(slow)
    assert kept(store) == set()
    store.write(keep("later"))
    assert kept(store) == {"later"}


# --- for reports --------------------------------------------------------------------------------------------

WHOLE = {
    "session_id": "str", "trial_index": "Int64", "phase": "str", "kind": "str", "left_stimulus": "str",
    "right_stimulus": "str", "epoch_left": "Int64", "epoch_right": "Int64", "commit_sha": "str",
    "direction": "str", "real_side": "str", "chosen_side": "str", "verdict": "str", "marks": "object",
    "rating": "Int64", "exposure_planned_ms": "Int64", "exposure_left_ms": "Float64",
    "exposure_right_ms": "Float64", "exposure_left_clock_ms": "Float64", "exposure_right_clock_ms": "Float64",
    "frames": "Int64", "longest_frame_ms": "Float64", "focus_lost": "bool", "resumed": "bool",
    "response_ms": "Float64", "server_ms": "Float64", "picture_css_px": "Float64",
    "picture_device_px": "Float64", "window_width": "Float64", "window_height": "Float64", "stacked": "boolean",
    "server_time": "datetime64[us, UTC]", "participant": "str", "origin": "str", "arm": "Int64",
    "slot": "Int64", "language": "str", "started_at": "datetime64[us, UTC]", "completed": "bool",
    "disqualified": "bool", "excluded": "bool", "exclusion_reason": "str",
}  # fmt: skip


def test_frames_have_their_types_with_and_without_rows(make_play, participant, store, clock):
    play = make_play()
    for names in ((), ("alice", "bob")):
        for name in names:
            clock.pass_(1)
            participant(play, name).vote()
        votes, sessions = store.votes(play.study), store.sessions(play.study)
        assert {name: str(dtype) for name, dtype in votes.dtypes.items()} == WHOLE
        assert len(votes) == len(sessions) == len(names)
        kinds = {name: str(dtype) for name, dtype in sessions.dtypes.items()}
        assert kinds["completed_at"] == kinds["started_at"] == "datetime64[us, UTC]" and kinds["votes"] == "Int64"
        assert kinds["completed"] == kinds["disqualified"] == kinds["excluded"] == "bool"
    assert sessions["participant"].tolist() == ["alice", "bob"] and sessions["votes"].tolist() == [1, 1]
    assert votes["started_at"].tolist() == [
        pd.Timestamp(clock.now - n, unit="s", tz="UTC") for n in (2 * 2.25 + 1, 2.25)
    ]
    assert not sessions["completed"].any() and sessions["code"].isna().all()
    assert sessions["screen"][0] == {"width": 390, "height": 844, "dpr": 3}


def test_several_studies_in_one_database(make_play, participant, store):
    one, two = make_play(name="one"), make_play(name="two", seed=2)
    participant(one), participant(two).vote()
    store.exclude(two.study, "alice", "asleep")
    assert len(store.votes(one.study)) == 0 and len(store.votes(two.study)) == 1
    assert not store.sessions(one.study)["excluded"][0] and store.sessions(two.study)["excluded"][0]
    assert store.read(lambda c: set(c.scalars(sa.select(db.studies.c.name)))) == {"one", "two"}
    content = sa.select(db.studies.c.content).where(db.studies.c.name == "two")
    assert store.read(lambda c: c.scalar(content)) == json.loads(json.dumps(two.study.to_json()))


# --- decisions ----------------------------------------------------------------------------------------------


def test_leaving_out_is_a_decision_with_a_reason_and_can_be_taken_back(make_play, participant, store, monkeypatch):
    play = make_play()
    participant(play).vote()
    participant(play, "bob").vote()
    store.exclude(play.study, " alice ", "took part\n twice")
    votes = store.votes(play.study).set_index("participant")
    assert votes["excluded"].to_dict() == {"alice": True, "bob": False}
    assert votes.loc["alice", "exclusion_reason"] == "took part twice" and pd.isna(votes.loc["bob", "exclusion_reason"])
    monkeypatch.setattr(exclusions, "utc_now", lambda: datetime(2020, 1, 1, tzinfo=timezone.utc))  # A clock set back.
    store.include(play.study, "alice")
    assert not store.votes(play.study)["excluded"].any()
    number = store.sessions(play.study).set_index("participant")["session_id"]["alice"]
    store.exclude(play.study, number[:8], "again")  # As reports print it.
    with pytest.raises(StudyError, match="has no participant"):
        store.exclude(play.study, number[:7], "too few digits to be sure")
    assert store.sessions(play.study).set_index("participant")["exclusion_reason"]["alice"] == "again"
    assert count(store, db.decisions) == 3 and count(store, db.votes) == 2


@pytest.mark.parametrize(
    ("name", "reason", "sentence"),
    [("carol", "asleep", "no participant 'carol'"), ("\ud800", "asleep", "no participant"),
     ("alice", " ", "give a reason"),
     ("alice", "x" * 1001, "give a reason"), ("alice", "a\0b", "give a reason")],
)  # fmt: skip
def test_decisions_that_make_no_sense(make_play, participant, store, name, reason, sentence):
    play = make_play()
    participant(play)
    with pytest.raises(StudyError, match=sentence):
        store.exclude(play.study, name, reason)
    assert count(store, db.decisions) == 0


def test_forgetting_leaves_nothing_but_that_somebody_was_forgotten(make_play, participant, store, tmp_path):
    play = make_play()
    alice = participant(play, "alice-who-left", address="192.0.2.7")
    bob = participant(play, "bob", address="192.0.2.7").finish()
    for _ in range(3):
        alice.vote()
    with pytest.raises(SessionError):
        play.vote(alice.secret, "forged", {})
    store.exclude(play.study, "alice-who-left", "alice-who-left slept")
    session_id = store.sessions(play.study).set_index("participant")["session_id"]["alice-who-left"]
    assert store.forget(play.study, "alice-who-left") == 3
    assert store.sessions(play.study)["participant"].tolist() == ["bob"]
    assert len(store.votes(play.study)) == 8 and count(store, db.incidents) == 0
    for table in (db.issues, db.reveals, db.completions, db.addresses):
        rows = store.read(lambda c, table=table: c.scalars(sa.select(table.c.session_id)).all())
        assert rows and session_id not in rows
    assert count(store, db.fetches) == 16
    (decision,) = store.read(lambda c: c.execute(sa.select(db.decisions)).all())
    assert (decision.action, decision.participant, decision.reason) == ("forget", None, "")
    if store.sqlite:
        store.close()
        left = b"".join(path.read_bytes() for path in tmp_path.glob("votes.sqlite3*"))
        assert b"bob" in left and b"alice-who-left" not in left
    with pytest.raises(SessionError) as caught:
        play.state(alice.secret)
    assert caught.value.code == "no_session" and play.state(bob.secret).phase == "done"
    with pytest.raises(StudyError, match="no participant"):
        store.forget(play.study, "alice-who-left")
    participant(play, "alice-who-left").finish()  # Nobody remembers.


# --- copies -------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(request, store, tmp_path):
    """Another store of the same kind, on an empty disk."""
    url = f"sqlite:///{tmp_path / 'fresh.sqlite3'}"
    if not store.sqlite:
        schema = store.url.query["options"].removeprefix("-csearch_path=") + "_fresh"
        with request.getfixturevalue("postgresql").connect() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        url = store.url.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
    with Store(url) as fresh:
        yield fresh


def test_rows_bring_everything_back_but_the_secrets(make_play, participant, store, fresh, clock):
    play = make_play()
    alice = participant(play).finish()
    clock.pass_(10)
    bob = participant(play, "bob")
    bob.vote()
    store.exclude(play.study, "alice", "asleep")
    rows = json.loads(json.dumps(store.rows(play.study)))
    text = json.dumps(rows)
    assert "hash" not in text and len({row["key"] for row in rows}) == len(rows) == 2 + 9 + 1 + 1
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    assert {row["study_id"] for row in rows} == {play.study.study_id}

    assert fresh.restore(play.study, rows) == len(rows)
    assert fresh.restore(play.study, rows[::-1]) == 0
    pd.testing.assert_frame_equal(fresh.votes(play.study), store.votes(play.study))
    pd.testing.assert_frame_equal(fresh.sessions(play.study), store.sessions(play.study))
    assert fresh.rows(play.study) == rows

    again = rules.StudySessions(play.study, fresh, clock=clock)
    for code, call in {
        "no_session": lambda: again.state(bob.secret),
        "taken": lambda: again.begin("alice", language="en", screen={}, address=None),
    }.items():
        with pytest.raises(SessionError) as caught:
            call()
        assert caught.value.code == code
    participant(again, "carol").finish()
    places = fresh.sessions(play.study)[["arm", "slot"]].to_numpy().tolist()
    assert sorted(places) == [[0, 0], [0, 1], [1, 0]]  # Alice doesn't count, and keeps her slot.
    assert alice.state.code in text


def test_rows_after_a_moment(make_play, participant, store, clock):
    play = make_play()
    participant(play).vote()
    first = store.rows(play.study)
    clock.pass_(1)
    participant(play, "bob").vote()
    new = store.rows(play.study, after=first[-1]["at"])
    assert {row["key"] for row in new} >= {row["key"] for row in store.rows(play.study)} - {r["key"] for r in first}
    clock.pass_(1)
    later = copies.iso(pd.Timestamp(clock.now, unit="s", tz="UTC").to_pydatetime())
    assert store.rows(play.study, after=later) == []


def test_what_was_forgotten_stays_forgotten(make_play, participant, store, fresh):
    play = make_play()
    participant(play).vote()
    participant(play, "bob").vote()
    store.exclude(play.study, "alice", "alice slept")
    before = store.rows(play.study)
    fresh.restore(play.study, before)
    store.forget(play.study, "alice")
    after = store.rows(play.study)
    assert "alice" not in json.dumps(after)
    assert store.restore(play.study, before) == 0  # A copy of then.
    assert store.rows(play.study) == after
    fresh.restore(play.study, after)  # Another replica hears of it.
    assert fresh.rows(play.study) == after and len(fresh.votes(play.study)) == 1
    participant(play, "alice")  # Who comes again is somebody new.
    assert store.restore(play.study, before) == 0 and not store.sessions(play.study)["excluded"].any()


def test_restoring_beside_sessions_that_began_meanwhile(make_play, participant, store, fresh, clock):
    play = make_play()
    participant(play).finish()
    participant(play, "bob").finish()
    meanwhile = rules.StudySessions(play.study, fresh, clock=clock)
    carol = participant(meanwhile, "carol")  # In the slot that alice had.
    participant(meanwhile, "bob").vote()
    fresh.restore(play.study, store.rows(play.study))
    kept = fresh.sessions(play.study).set_index("participant")
    assert kept["votes"].to_dict() == {"alice": 8, "bob": 1, "carol": 0}
    assert pd.isna(kept["slot"]["alice"]) and kept["completed"]["alice"]
    assert carol.finish().state.phase == "done"


def test_restoring_rows_that_make_no_sense(make_play, participant, store, fresh, small_study):
    play = make_play()
    participant(play).finish()
    session, *others = store.rows(play.study)
    vote = next(row for row in others if row["record"] == "vote")
    bad = [
        {}, {"record": "party"}, {**session, "study_id": "0" * 32}, {**session, "participant": None},
        {**session, "participant": "a\0"}, {**session, "arm": 7}, {**session, "started_at": "yesterday"},
        {**session, "origin": "robots"}, {**session, "language": "x" * 99}, {**vote, "trial_index": 2**70},
        {**vote, "trial_index": "0"}, {**vote, "left_stimulus": "0" * 64}, {**vote, "left_stimulus": {}},
        {**vote, "focus_lost": 1}, {**vote, "response_ms": float("nan")}, {**vote, "frames": True}, "row", None,
    ]  # fmt: skip
    assert fresh.restore(play.study, bad) == 0
    assert fresh.restore(play.study, others) == 0  # Without their session.
    assert len(fresh.sessions(play.study)) == 0
    assert fresh.restore(play.study, [*bad, session, *others]) == 10


# --- speed --------------------------------------------------------------------------------------------------


def test_threads_share_a_store(make_play, participant, store):
    play = make_play()
    failed = []

    def run(n):
        try:
            assert participant(play, f"p{n}").finish().state.phase == "done"
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    votes = store.votes(play.study)
    assert len(votes) == 12 * 8 and not votes.duplicated(["session_id", "trial_index"]).any()
    assert len(store.incidents(play.study)) == 0
