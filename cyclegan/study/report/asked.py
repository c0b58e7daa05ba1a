"""The consent, the answers to the owner's questions, and the table of sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.errors import number_of, rounded
from cyclegan.study.format import Study
from cyclegan.study.questions import Question
from cyclegan.study.report.judging import before_votes, judge, known, session_status

if TYPE_CHECKING:
    import pandas as pd

_SESSION = ("session_id", "participant", "origin", "arm", "language", "started_at", "completed_at", "completed",
            "disqualified", "code", "votes", "excluded", "exclusion_reason", "consent_version", "consent_sha256",
            "agreed_at")  # fmt: skip
_SCREEN = ("width", "height", "dpr", "refresh_hz")


def consent_of(study: Study) -> dict[str, Any] | None:
    """Return what identifies the consent in the owner's words; None if there isn't one: version, ethics, sha256 of the
    original, translations: {language: sha256}."""
    if not (consent := study.consent):
        return None
    translations = {language: sha256 for language, sha256 in consent.hashes.items() if language}
    return {"version": consent.version, "ethics": consent.ethics, "sha256": consent.sha256,
            "translations": translations}


def answers_of(study: Study, sessions: pd.DataFrame, counted: Collection[str]) -> list[dict[str, Any]]:
    """Return each question with its answers: how often each option was chosen; a number's median, quartiles, least
    and most; of a text only how many there are, because it is personal. `left_out`: how many were asked and didn't
    answer; `not_reached`: how many ended before the page of the question was sent.

    Args:
        sessions: as returned by `Store.sessions`.
        counted: ids of the sessions that count.
    """
    if not study.questions or "answers" not in sessions:
        return []
    given = sessions[sessions["session_id"].isin(list(counted))]["answers"].tolist()
    return [_figures(question, given) for question in study.questions]


def _figures(question: Question, given: Sequence[Mapping[str, str | None]]) -> dict[str, Any]:
    asked = [each[question.id] for each in given if question.id in each]
    answers = [value for value in asked if value is not None]
    found: dict[str, Any] = {
        **{name: getattr(question, name) for name in ("id", "when", "kind", "text")},
        "answers": len(answers), "left_out": len(asked) - len(answers), "not_reached": len(given) - len(asked),
    }  # fmt: skip
    if question.kind == "choice":
        counts = Counter(answers)
        found["options"] = [{"option": option, "count": counts[option]} for option in question.options]
    if question.kind == "number" and answers:
        values = [float(value) for value in answers]
        found |= {"median": float(np.median(values)), "quartiles": np.quantile(values, (0.25, 0.75)).tolist(),
                  "range": [min(values), max(values)]}  # fmt: skip
    return found


def words(report: Mapping[str, Any], table: Callable[..., str], escape: Callable[[str], str]) -> list[str]:
    """Return the consent in a sentence, and the questions with their answers as a table."""
    parts = []
    if consent := report["consent"]:
        approval = f", under ethics approval {escape(consent['ethics'])}" if consent["ethics"] else ""
        version = f" version {escape(consent['version'])} of" if consent["version"] else ""
        hashes = [f"{consent['sha256'][:16]}…", *(f"in {escape(language)} {sha256[:16]}…"
                                                  for language, sha256 in consent["translations"].items())]
        parts.append(f"Before anything else, participants agreed to{version} the study's consent{approval} "
                     f"(SHA-256 of its text: {', '.join(hashes)}).")  # fmt: skip
    if report["questions"]:
        rows = [[escape(q["text"]), q["when"], escape(_said(q)), q["answers"], q["left_out"], q["not_reached"]]
                for q in report["questions"]]  # fmt: skip
        head = ["question", "asked", "answers", "given", "left out", "not reached"]
        parts += ["Questions to those who count; some may have closed the page before they reached a question:",
                  table(head, rows)]
    return parts


def _said(question: Mapping[str, Any]) -> str:
    if question["kind"] == "choice":
        return "; ".join(f"{each['option']}: {each['count']}" for each in question["options"])
    if question["kind"] == "text":
        return f"{number_of(question['answers'], 'text')}, in the export only"
    if "median" not in question:
        return "–"
    low, high = question["quartiles"]
    least, most = question["range"]
    return (f"median {rounded(question['median'], 'g')} (quartiles {rounded(low, 'g')} and {rounded(high, 'g')}; "
            f"{rounded(least, 'g')} to {rounded(most, 'g')})")  # fmt: skip


def to_session_table(study: Study, votes: pd.DataFrame, sessions: pd.DataFrame) -> pd.DataFrame:
    """Return a tidy row for each session, whether it counts or not: who, when, screen, code, consent, answers.

    `counted` and `why_not` are as in the table of votes; the answer to the question ID is in the column answer_ID.

    Args:
        votes, sessions: as returned by `Store.votes` and `Store.sessions`.
    """
    status = session_status(judge(study, votes))
    table = sessions[list(_SESSION)].copy()
    table.insert(0, "study_id", study.study_id)
    for name in _SCREEN:
        table[f"screen_{name}"] = [(screen or {}).get(name) for screen in sessions["screen"]]
        table[f"screen_{name}"] = table[f"screen_{name}"].astype("Float64")
    why = [status[row.session_id] if row.session_id in status else before_votes(row)
           for row in sessions.itertuples(index=False)]  # fmt: skip
    table["counted"] = [not reason for reason in why]
    table["why_not"] = [known(reason) for reason in why]
    for question in study.questions:
        column = [answers.get(question.id) for answers in sessions["answers"]]
        kind = "Float64" if question.kind == "number" else "string"
        table[f"answer_{question.id}"] = [float(v) if v is not None and kind == "Float64" else v for v in column]
        table[f"answer_{question.id}"] = table[f"answer_{question.id}"].astype(kind)
    for name in ("exclusion_reason", "why_not", "consent_version", "consent_sha256", "code", "language"):
        table[name] = table[name].astype("string")
    return table
