"""The owner's questions: their file, what they can be answered by, and when a session is asked."""

import dataclasses

import pytest
import sqlalchemy as sa

from cyclegan.errors import StudyError
from cyclegan.study import store as db
from cyclegan.study.consent import Consent
from cyclegan.study.format import Study, read_study
from cyclegan.study.questions import MOST, Question, check_questions, read_questions
from cyclegan.study.refusals import SessionError
from cyclegan.study.session import StudySessions
from tests.study.asked import CONSENT, QUESTIONS

GOOD = """
- id: age
  when: before
  kind: number
  text: How old
    are you?
  least: 18
- id: edits
  when: after
  kind: choice
  text: Do you edit pictures?
  options: ["No", "Yes"]
  required: true
  translations: {ko: {text: "사진을 편집하시나요?", options: [아니요, 예]}}
- {id: how, when: after, kind: text, text: "How did you decide?"}
"""
ONE = "{id: age, when: before, kind: number, text: 'How old?'}"
CHOICE = "{id: c, when: after, kind: choice, text: Which, options: [a, b]}"
HUGE = f"0x1{'0' * 5000}"


def bomb(of):
    """Eleven anchors in YAML, each with the one before nine times: 9 to the power of 11 parts."""
    return ", ".join(f"&a{n} {of.format(', '.join([f'*a{n - 1}'] * 9))}" for n in range(1, 12))


BAD = {
    "no file": (None, "can't be read"),
    "not UTF-8": (b"\xff\xfe- id: a", "isn't UTF-8"),
    "not YAML": (b"- id: [", "line 1 isn't valid YAML"),
    "tab": (b"- id: a\n\twhen: before", "line 2 isn't valid YAML"),
    "tag": (b"- !!python/object/apply:os.system [ls]", "isn't valid YAML"),
    "empty": (b"", "list of questions"),
    "no list": (b"id: age", "list of questions"),
    "too long": (b"- " + b"x" * 200_000, "too long"),
    "too many": (b"\n".join(b"- " + ONE.replace("age", f"q{n}").encode() for n in range(11)), "ask 10 at most"),
    "no question": (b"- age", "'age' isn't a question"),
    "unknown key": (ONE.replace("text", "txet"), "no 'txet'"),
    "missing key": (ONE.replace("when: before, ", ""), "it lacks when"),
    "no id": (ONE.replace("id: age, ", ""), "it lacks id"),
    "bad id": (ONE.replace("age", "Your age"), "'Your age' can't be a question's id"),
    "id twice": (f"- {ONE}\n- {ONE}".encode(), "two questions have the id age"),
    "bad when": (ONE.replace("before", "during"), "when is 'during'; choose before or after"),
    "bad kind": (ONE.replace("number", "slider"), "kind is 'slider'; choose choice or number or text"),
    "empty text": (ONE.replace("'How old?'", '""'), "text needs 1 to 500"),
    "text is a number": (ONE.replace("'How old?'", "7"), "text is 7, which YAML doesn't read as text"),
    "one option": (CHOICE.replace(", b", ""), "2 to 20 options"),
    "option twice": (CHOICE.replace("b]", "a]"), "an option is there twice"),
    "option is a yes": (CHOICE.replace("b]", "yes]"), "an option is True, which YAML doesn't read as text"),
    "options are no list": (CHOICE.replace("[a, b]", "a"), "options is a list"),
    "options of a number": (ONE.replace("}", ", options: [a, b]}"), "options are for a choice, not for a number"),
    "least of a choice": (CHOICE.replace("}", ", least: 1}"), "least is for a number, not for a choice"),
    "least is a text": (ONE.replace("}", ", least: young}"), "least is young; it has to be a number"),
    "most is infinite": (ONE.replace("}", ", most: .inf}"), "most is inf"),
    "least above most": (ONE.replace("}", ", least: 9, most: 8}"), "least is more than most"),
    "most has hundreds of digits": (ONE.replace("}", f", most: 1{'0' * 400}}}"), "it has to be a number up to"),
    "least has thousands of digits": (ONE.replace("}", f", least: {HUGE}}}"), "least is thousands of digits; it has"),
    "id has thousands of digits": (ONE.replace("age", HUGE), "'thousands of digits' can't be a question's id"),
    "aliases of aliases": (ONE.replace("'How old?'", f"[&a0 [x], {bomb('[{}]')}]"), "too long for 10 questions"),
    "an alias in itself": (ONE.replace("'How old?'", "&a [*a]"), "too long for 10 questions"),
    "merged aliases": (f"{{<<: [&a0 {{x: y}}, {bomb('{{<<: [{}]}}')}]}}", "too long for 10 questions"),
    "invisible text": (ONE.replace("How old?", "\u200b\u3000"), "text needs 1 to 500"),
    "control character": (CHOICE.replace("Which", '"a\\0b"'), "text needs 1 to 500 printable"),
    "required": (ONE.replace("}", ", required: maybe}"), "required is true or false"),
    "translations": (ONE.replace("}", ", translations: ko}"), "translations need a language"),
    "language": (ONE.replace("}", ", translations: {xx: {text: a}}}"), "no language 'xx'"),
    "translation's keys": (CHOICE.replace("]}", "], translations: {ko: {text: a}}}"), "ko needs text and options"),
    "translation's options": (
        CHOICE.replace("]}", "], translations: {ko: {text: a, options: [a]}}}"), "as many options as there are: 2"
    ),
}  # fmt: skip


def test_a_file_of_questions(tmp_path):
    (tmp_path / "q.yaml").write_text(GOOD)
    age, edits, how = read_questions(tmp_path / "q.yaml")
    assert (age.id, age.when, age.kind, age.text, age.least, age.required) == (
        "age", "before", "number", "How old are you?", 18, False
    )  # fmt: skip
    assert edits.options == ("No", "Yes") and edits.required and how.kind == "text"
    assert edits.translations["ko"]["options"] == ["아니요", "예"]


@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_a_sentence(name, tmp_path):
    content, said = BAD[name]
    path = tmp_path / "q.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else f"- {content}".encode())
    with pytest.raises(StudyError) as caught:
        read_questions(path)
    sentence = str(caught.value)
    assert said in sentence and str(path) in sentence and "\n" not in sentence


def test_answers_are_kept_in_one_spelling():
    age, edits, hours, screen, how = QUESTIONS
    assert [age.checked(34), age.checked(34.5), edits.checked(1), how.checked(" by \r\nthe sky ")] == [
        "34", "34.5", "Sometimes", "by \nthe sky"
    ]  # fmt: skip
    assert hours.checked(None) is None and screen.checked("") is None and how.checked("  ") is None
    for question, value in (
        (age, None), (age, 17), (age, 121), (age, True), (age, "34"), (age, float("nan")), (age, 10**400), (edits, 3),
        (edits, -1), (edits, 0.0), (edits, "Never"), (edits, True), (how, 7), (how, "x" * 1001), (how, "a\0b"),
        (how, ["a"]), (how, "half of \ud83d"), (how, 10**5000),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=question.id):
            question.checked(value)


WRITTEN = {
    "full-width space": "하늘　때문에", "joined emoji": "👩‍🚀👍🏽❤️", "Persian": "می‌خواهم",
    "right-to-left mark": "שלום\u200f!",
    "soft hyphen": "Donau\u00addampf", "zero-width space": "a\u200bb", "byte order mark": "\ufeffthe sky",
    "Apple's logo": "my \uf8ff", "line separator": "a\u2028b", "emoji of a later year": "\U0001faff",
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_all_that_keyboards_write_is_an_answer_and_can_be_asked(name, small_study):
    how, text = QUESTIONS[-1], WRITTEN[name]
    assert how.checked(f" {text}\n") == text
    required = dataclasses.replace(how, required=True)
    for nothing in ("\u200b", "　\n", "\ufeff\u200d"):
        assert how.checked(nothing) is None
        with pytest.raises(ValueError, match="required"):
            required.checked(nothing)
    assert Consent(text, version=text.replace("\u2028", "")).hashes
    if name != "line separator":  # It has a second line.
        choice = Question("q", "after", "choice", text, (text, "b"))
        assert Question.from_json(choice.to_json()).options == (text, "b")
        assert dataclasses.replace(small_study(), title=text).title == text


def test_a_range_from_or_to_0_is_kept():
    for bounds in ({"least": 0}, {"most": 0}, {"least": 0.0, "most": 24}):
        question = Question("hours", "before", "number", "Hours?", **bounds)
        assert bounds.items() <= question.to_json().items()
        assert Question.from_json(question.to_json()) == question
    assert "required" not in question.to_json()
    with pytest.raises(ValueError, match="hours"):
        Question.from_json(question.to_json()).checked(-5)


def test_a_scale_can_be_shared_by_an_alias(tmp_path):
    other = CHOICE.replace("id: c", "id: d").replace("[a, b]", "*scale")
    (tmp_path / "q.yaml").write_text(f"- {CHOICE.replace('[a, b]', '&scale [a, b]')}\n- {other}\n")
    assert [question.options for question in read_questions(tmp_path / "q.yaml")] == [("a", "b")] * 2


def test_a_study_keeps_them_and_an_old_one_its_id(small_study):
    plain = small_study()
    assert not {"consent", "questions", "code_declined"} & plain.to_json().keys()
    study = small_study("asks", asks={"consent": CONSENT, "questions": QUESTIONS, "code_declined": "NO"})
    again = read_study(study.folder)
    assert isinstance(again, Study) and again == study and again.study_id == study.study_id
    assert again.questions == QUESTIONS and again.consent == CONSENT
    with pytest.raises(StudyError, match="ask 10 at most"):
        check_questions([dataclasses.replace(QUESTIONS[0], id=f"q{n}") for n in range(MOST + 1)])


ASKS = {"consent": CONSENT, "questions": QUESTIONS}
BEFORE = {"age": 34, "edits": 1}


def refused(call, *args, **options):
    with pytest.raises(SessionError) as caught:
        call(*args, **options)
    return caught.value.code


def test_a_session_with_consent_and_questions(small_study, make_play, participant, clock, store):
    play = make_play(small_study(asks=ASKS))
    begin = {"language": "en", "screen": {}, "address": None}
    for other in (None, "", "0" * 64, 7):
        assert refused(play.begin, "alice", **begin, consent=other) == "no_consent"
    assert store.sessions(play.study).empty  # Nobody is stored without having agreed.
    agreed_at = clock.now
    alice = participant(play, consent=CONSENT.sha256)
    assert (alice.state.phase, alice.state.trial) == ("before", None)
    assert play.state(alice.secret).phase == "before"
    with pytest.raises(SessionError, match="These questions have been answered, or are not due yet") as caught:
        play.reply(alice.secret, "after", {})  # No trial is involved.
    assert caught.value.code == "out_of_order"
    assert refused(play.reply, alice.secret, "before", {"age": 34}) == "bad_answer"
    assert refused(play.reply, alice.secret, "before", [1]) == "bad_answer"
    clock.pass_(60)
    alice.state = play.reply(alice.secret, "before", BEFORE)
    assert alice.state.phase == "practice" and alice.state.trial["token"]
    alice.state = play.reply(alice.secret, "before", {**BEFORE, "age": 99})  # The first answers count.
    alice.finish()
    assert (alice.state.phase, alice.state.code) == ("after", None)  # Counted, but without a code before the answers.
    assert store.sessions(play.study)["completed"].all()
    clock.pass_(hours=100)  # No rule closes the door on somebody who has done it all.
    assert play.reply(alice.secret, "after", {"how": "The sky"}).phase == "done"
    alice.state = play.reply(alice.secret, "after", {"how": "Other"})
    assert alice.state.phase == "done" and alice.state.code
    assert refused(play.reply, alice.secret, "before", BEFORE) == "out_of_order"
    row = store.sessions(play.study).iloc[0]
    assert row["answers"] == {"age": "34", "edits": "Sometimes", "hours": None, "screen": None, "how": "The sky"}
    assert (row["consent_version"], row["consent_sha256"]) == ("1.2", CONSENT.sha256)
    assert row["agreed_at"].timestamp() == agreed_at


def test_a_session_that_is_over_is_not_asked(small_study, make_play, participant, clock):
    play = make_play(small_study(asks={"questions": QUESTIONS}))
    late = participant(play, "late")
    clock.pass_(hours=25)
    assert refused(play.reply, late.secret, "before", BEFORE) == "late"
    assert play.state(late.secret).phase == "expired"
    play = make_play(small_study("hard", asks={"questions": QUESTIONS[-1:]}, qualification=1.0, practice_trials=8,
                                 scenes=60))
    wrong = participant(play, "wrong").finish()
    assert wrong.state.phase == "disqualified"
    assert refused(play.reply, wrong.secret, "after", {"how": "Badly"}) == "out_of_order"


def test_forgotten_and_copied_with_the_session(small_study, make_play, participant, make_store, store, tmp_path):
    play = make_play(small_study(asks=ASKS))
    study = play.study
    for name in ("alice", "bob"):
        someone = participant(play, name, consent=CONSENT.sha256)
        someone.state = play.reply(someone.secret, "before", {**BEFORE, "screen": 0})
        someone.finish()
        play.reply(someone.secret, "after", {"how": "By luck"})
    rows = store.rows(study)
    with db.Store(f"sqlite:///{tmp_path / 'copy.sqlite3'}") as copy:
        assert copy.restore(study, rows) == len(rows)
        assert copy.rows(study) == rows
        here, there = (each.sessions(study) for each in (store, copy))
        assert here[["participant", "answers", "agreed_at"]].equals(there[["participant", "answers", "agreed_at"]])
        odd = [{**row, "question": "pin"} for row in rows if row["record"] == "reply"]
        assert copy.restore(study, odd) == 0  # The study doesn't ask that.
    store.forget(study, "alice")
    for table in (db.agreements, db.replies):
        left = store.read(lambda c, t=table: {row.session_id for row in c.execute(sa.select(t.c.session_id))})
        assert left == set(store.sessions(study)["session_id"]) and len(left) == 1


def test_the_answers_of_an_older_database(small_study, make_store, participant):
    """A database from before there were questions gets their tables, and keeps its votes."""
    study = small_study(asks={"questions": QUESTIONS})
    old = make_store()
    old.setting("key")
    old.write(lambda c: [c.exec_driver_sql(f"DROP TABLE {name}") for name in ("replies", "agreements")])
    old.write(lambda c: c.execute(db.migrations.delete().where(db.migrations.c.name == "2026-11-29-replies")))
    new = make_store()
    someone = participant(StudySessions(study, new))
    assert someone.play.reply(someone.secret, "before", BEFORE).phase == "practice"


def test_simulated_answers_are_answers():
    import numpy as np

    random = np.random.default_rng(0)
    hard = [dataclasses.replace(QUESTIONS[0], least=low, most=high) for low, high in ((-5, -2), (200, 300), (None, -3))]
    for question in [*QUESTIONS, *hard, Question("far", "before", "number", "Far?", least=500)]:
        assert question.checked(question.made_up(random)) is not None
