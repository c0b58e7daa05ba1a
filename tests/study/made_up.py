"""Studies without networks and votes without people, for the tests of figures."""

import hashlib
import io

import numpy as np
import pandas as pd
from PIL import Image
from scipy.special import expit, logit

from cyclegan.study.format import PlannedCheckpoint, Stimulus, Study, commitment, write_study
from cyclegan.study.protocol import TAGS, protocol
from cyclegan.study.rules import shortest_ms
from cyclegan.study.staircase import next_exposure


def made_study(folder=None, *, preset="cyclegan2017", epochs=(20,), scenes=60, broken=0, labels=(), **overrides):
    """A study; with a folder, its pictures are written, too. With labels it is of several runs, each at epoch 8.

    Its results are open, unless they are named.
    """
    rules = protocol(preset, **{"results": "open", **overrides})
    shows = "scene" if rules.pairing == "same" else "photo"  # Unpaired data: of other scenes than the fakes.
    names = [("real", f"{shows}-{n:03d}", None) for n in range(scenes)]
    names += [("fake", f"scene-{n:03d}", epoch) for epoch in epochs for n in range(scenes)]
    names += [("broken", f"scene-{n:03d}", None) for n in range(broken)]
    stimuli, contents = [], {}
    for number, name in enumerate(names):
        content = str(name).encode()
        if folder is not None:
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
            out = io.BytesIO()
            Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC).save(out, "PNG")
            content = out.getvalue()
        sha256 = hashlib.sha256(content).hexdigest()
        stimuli.append(Stimulus(sha256, *name))
        contents[sha256] = content
    planned = [PlannedCheckpoint(epoch, f"{epoch:040x}", "alice/maps") for epoch in epochs]
    if labels:
        named = zip(planned, labels, strict=True)
        planned = [PlannedCheckpoint(c.epoch, c.commit_sha, f"run-{c.epoch}", label, 8) for c, label in named]
    study = Study(
        name="made-up", title="Which photos look real", protocol=rules, direction="ab",
        domains=("maps", "photos"), dataset="maps", seed=7, size=(32, 32), stimuli=tuple(stimuli),
        checkpoints=tuple(planned),
    )  # fmt: skip
    return study if folder is None else write_study(study, contents, folder)


def made_votes(study, participants, rates=None, *, seed=0, person_sd=0.5, stimulus_sd=1.0, origin="people"):
    """Complete sessions, `participants` of each arm in turn.

    Args:
        rates: epoch → about how often its fakes are taken for real (preferred, marked); reals are taken for fake as
            often.
    """
    rng = np.random.default_rng(seed)
    rates = rates or {epoch: 0.27 for epoch in study.epochs}
    stimulus = {s.sha256: rng.normal(0, stimulus_sd) for s in study.stimuli}
    rows = []
    for number in range(participants * len(study.arms)):
        arm, slot = number % len(study.arms), number // len(study.arms)
        person = rng.normal(0, person_sd)
        for trial in study.trials(arm, slot):
            row = {
                "session_id": f"{number:032x}", "participant": f"P{number:03d}", "origin": origin, "arm": arm,
                "slot": slot, "language": "en", "started_at": "2026-07-05T14:00:00+00:00", "completed": True,
                "disqualified": False, "excluded": False, "exclusion_reason": None, "trial_index": trial.index,
                "phase": trial.phase, "kind": trial.kind, "left_stimulus": trial.left.sha256,
                "right_stimulus": trial.right.sha256 if trial.right else None, "epoch_left": trial.left.epoch,
                "epoch_right": trial.right.epoch if trial.right else None,
                "commit_sha": study.commit_sha(trial.epoch), "direction": study.direction,
                "real_side": trial.real_side, "chosen_side": None, "verdict": None, "marks": None,
                "rating": None,
                "exposure_planned_ms": study.protocol.exposure_ms, "exposure_left_ms": rng.normal(1000, 5),
                "exposure_right_ms": rng.normal(1000, 5) if trial.right else None, "frames": 60,
                "longest_frame_ms": 17.0, "focus_lost": False, "resumed": False,
                "response_ms": float(np.exp(rng.normal(6.7, 0.5))), "server_ms": None,
                "server_time": "2026-07-05T14:03:00+00:00",
            }  # fmt: skip
            row["server_ms"] = shortest_ms(study.protocol) + row["response_ms"] + 50
            row.update(_answer(study, trial, rates, person, stimulus, rng))
            rows.append(row)
    return pd.DataFrame(rows)


def _answer(study, trial, rates, person, stimulus, rng):
    def taken_for_real(picture):
        if picture.kind == "broken":
            return 0.02
        rate = rates[picture.epoch] if picture.epoch is not None else rates[study.epochs[0]]
        return expit(logit(rate) * 1.15 + person + stimulus[picture.sha256])

    task, question = study.protocol.task, study.protocol.question
    if task == "tag":
        marks = []
        if rng.random() < taken_for_real(trial.left):
            box = [float(v) for v in (*rng.uniform(0, 0.6, 2), *rng.uniform(0.1, 0.4, 2))]
            marks = [{"tag": TAGS[rng.integers(len(TAGS))], "box": box if rng.random() < 0.7 else None}]
        return {"marks": marks}
    if task == "rate":  # A real picture is as good as a fake that always fools.
        good = 0.9 if trial.left.kind == "real" else rates.get(trial.left.epoch, 0.0)
        good = expit(logit(max(good, 0.02)) + person + stimulus[trial.left.sha256] / 2)
        return {"rating": int(1 + rng.binomial(4, good))}
    if trial.right is None:
        fooled = rng.random() < taken_for_real(trial.left)
        if trial.left.kind == "real":
            return {"verdict": "fake" if fooled else "real"}
        return {"verdict": "real" if fooled else "fake"}
    if task == "pick":
        if rng.random() < 0.1:
            return {"chosen_side": "tie"}
        left, right = (logit(taken_for_real(picture)) for picture in trial.stimuli)
        return {"chosen_side": "left" if rng.random() < expit(left - right) else "right"}
    if trial.real_side in ("left", "right"):
        real, other = trial.real_side, {"left": "right", "right": "left"}[trial.real_side]
        fake = trial.right if real == "left" else trial.left
        taken = other if rng.random() < taken_for_real(fake) else real
    else:
        taken = "left" if rng.random() < 0.5 else "right"
    return {"chosen_side": taken if question == "real" else {"left": "right", "right": "left"}[taken]}


def sessions_of(votes):
    """The sessions' table that belongs to votes."""
    columns = ["session_id", "participant", "origin", "arm", "slot", "completed", "disqualified", "excluded",
               "exclusion_reason"]
    return votes[columns].drop_duplicates("session_id").reset_index(drop=True)


def unseen_study(preset="cyclegan2017", *, epochs=(1, 2, 3), scenes=130, reals=None, broken=10, paired=True, seed=7,
                 secret="", **overrides):  # fmt: skip
    """A study whose pictures nobody ever looks at; without a secret, as they were built at first."""

    def stimulus(kind, scene, epoch=None):
        return Stimulus(hashlib.sha256(f"{kind} {scene} {epoch}".encode()).hexdigest(), kind, scene, epoch)

    stimuli = [stimulus("fake", f"scene-{n}", epoch) for n in range(scenes) for epoch in epochs]
    stimuli += [stimulus("real", f"{'scene' if paired else 'other'}-{n}") for n in range(reals or scenes)]
    stimuli += [stimulus("broken", f"broken-{n}") for n in range(broken)]
    return Study(
        name="numbers", title="", protocol=protocol(preset, **overrides), direction="ab", domains=("day", "night"),
        dataset="noise", checkpoints=tuple(PlannedCheckpoint(e, f"{e:040x}", "run") for e in epochs), seed=seed,
        size=(16, 16), stimuli=tuple(stimuli), bytes_per_stimulus=1, secret=secret,
        secret_sha256=secret and commitment(secret),
    )  # fmt: skip


def sessions_by_slot(study, count=12):
    return [study.trials(arm, slot) for arm in range(len(study.arms)) for slot in range(count)]


def staircase_votes(study, participants, at_500, rng):
    """Votes whose chance of being right grows with the exposure, from a guess: `at_500` by epoch are mistakes there."""
    votes = made_votes(study, participants).assign(focus_lost=False)
    ends = []
    for _, rows in votes.groupby("session_id", sort=False):
        rows, answers, wrong = rows.copy(), [], at_500[study.arms[rows["arm"].iloc[0]][0]]
        for index in rows.index:
            kind = study.by_hash[rows.loc[index, "left_stimulus"]].kind
            exposure = next_exposure(study.protocol, answers)
            right = bool(rng.random() >= 0.5 * (2 * wrong) ** (exposure / 500))
            rows.loc[index, "verdict"] = kind if right else {"real": "fake", "fake": "real"}[kind]
            if rows.loc[index, "phase"] == "test":
                rows.loc[index, "exposure_planned_ms"] = exposure
                answers.append(right)
            planned = rows.loc[index, "exposure_planned_ms"]
            rows.loc[index, "exposure_left_ms"] = planned + 4.0
            rows.loc[index, "server_ms"] = float(shortest_ms(study.protocol, planned)) + 800
        ends += rows.to_dict("records")
    return type(votes)(ends)
