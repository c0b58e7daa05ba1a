"""Whether anything but the pictures tells real from fake: the self-test that each study has to pass.

What can be made the same for all stimuli has to be the same: a single difference fails. What can't be, such as names
or places in a sequence, has to be independent of the truth, by tests of each and by a classifier of all of it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import io
import os
import stat
import struct
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import stats

from cyclegan.errors import StudyError
from cyclegan.study.format import Stimulus, Study
from cyclegan.study.sequences import Trial

ALPHA = 0.001
"""Chance that a blind study fails, over all tests together (Holm)."""
SESSIONS = 60
"""Sessions whose sequences are looked at, over all arms."""
SERVED, TRIALS_SERVED = 4, 25
"""Sessions that are begun against the server, and trials of each: as many as it allows at any speed."""
PARTICIPANTS = 25
"""Per epoch, as in the CycleGAN paper: what the study resolves is told for so many."""
MOST_SAMPLES = 600
PERMUTATIONS = 1000
TRANSPORT = 0.01
"""Part of a file's length that a compressing proxy may save at most."""
JPEG_GRID = 0.05
"""Difference of the medians of `jpeg_grid`, real against fake, from which on it is worth a note."""


@dataclass(frozen=True)
class Finding:
    """What one channel says."""

    channel: str
    passed: bool
    detail: str
    """A sentence: what was found, and if need be the remedy."""
    p: float | None = None
    """Of the test, corrected for their number; None where equality was asked for."""


@dataclass(frozen=True)
class BlindingReport:
    """The self-test's result."""

    study: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    """What does not fail the study, but should be known."""
    resolution: Mapping[str, Any] | None = None
    """What the study is able to resolve; see `statistics.resolution`."""

    @property
    def passed(self) -> bool:
        """Whether every channel is blind."""
        return all(finding.passed for finding in self.findings)

    @property
    def problems(self) -> list[str]:
        """A sentence for each channel that isn't."""
        return [finding.detail for finding in self.findings if not finding.passed]

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"passed": self.passed, **dataclasses.asdict(self)}

    def text(self) -> str:
        """For people: a line for each channel, then the notes."""
        width = max(len(finding.channel) for finding in self.findings)
        lines = [
            f"{'ok    ' if finding.passed else 'FAILED'}  {finding.channel:{width}}  {finding.detail}"
            for finding in self.findings
        ]
        lines += [f"note: {note}" for note in self.notes]
        if found := self.resolution:
            lines.append(
                f"resolves: ± {found['half_width']:.1%} with {found['participants']} participants per epoch, "
                f"{found['trials']} trials each that count (at a fooling rate of 27% and a correlation within "
                f"participants of {found['icc']}); ± 5 points with {found['for_5_points']}, ± 3 with "
                f"{found['for_3_points']}; {found['to_tell']} per epoch tell 20% from 27%"
            )
        return "\n".join(lines)


def check(study: Study, *, over_http: bool = True) -> BlindingReport:
    """Try to tell real from fake, and one epoch from another, by everything but what the pictures show.

    Args:
        study: as it lies in its folder.
        over_http: also play some sessions against the server, in this process and with a database of their own.

    Raises:
        StudyError: the study lies in no folder.
    """
    if study.folder is None:
        raise StudyError("{study} lies in no folder: write it first", study=study.name)
    whole, files = _whole(study)
    if not whole.passed:
        return BlindingReport(study.name, (whole,))
    findings = [whole]
    if study.protocol.task == "realness" and study.protocol.presentation != "single":
        findings.append(_even_sides(study))
    structures = {sha256: structure(content) for sha256, content in files()}
    findings.append(_same(structures, "encoding", "the files are built in the same way: {}"))
    findings.append(_transport(study, files))
    findings += _access(study)
    samples = _Samples()
    _file_samples(samples, study)
    if over_http:
        findings += _served(samples, study)
    _trial_samples(samples, study)
    findings += samples.findings()
    return BlindingReport(study.name, tuple(findings), tuple(_notes(study, files)), _resolution(study))


def _label(stimulus: Stimulus) -> str:
    """What has to stay hidden of a stimulus."""
    return stimulus.kind if stimulus.epoch is None else f"{stimulus.kind} of epoch {stimulus.epoch}"


# --- what has to be the same --------------------------------------------------------------------------------


def _whole(study: Study) -> tuple[Finding, Callable[[], Iterable[tuple[str, bytes]]]]:
    """Whether all files are there, no others, and as named; and what reads them again."""

    def files() -> Iterable[tuple[str, bytes]]:
        for sha256 in sorted(study.by_hash):
            yield sha256, study.stimulus_path(sha256).read_bytes()

    def failed(what: str) -> tuple[Finding, Callable[[], Iterable[tuple[str, bytes]]]]:
        return Finding("files", False, f"{what}: build the study again, or get it again"), files

    folder = study.folder / "stimuli"
    expected = {f"{sha256}.png" for sha256 in study.by_hash}
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if len(study.by_hash) < len(study.stimuli):
        return failed("two stimuli are one file")
    if missing := sorted(expected - found):
        return failed(f"{len(missing)} of {len(expected)} stimuli are missing, {missing[0][:16]}… first")
    if extra := sorted(found - expected):
        return failed(f"{extra[0][:40]} is no stimulus of this study")
    sizes = Counter()
    try:
        for sha256, content in files():
            if hashlib.sha256(content).hexdigest() != sha256:
                return failed(f"{sha256[:16]}….png is not what study.json says it is")
            sizes[len(content)] += 1
    except OSError as error:
        return failed(f"a stimulus can't be read ({error.strerror or error})")
    if set(sizes) != {study.bytes_per_stimulus}:
        detail = f"the files have {len(sizes)} lengths, {min(sizes):,} to {max(sizes):,} bytes"
        return failed(f"{detail}, not {study.bytes_per_stimulus:,} each")
    kinds = Counter(_label(s) for s in study.stimuli)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    detail = f"{len(expected)} files as named by their SHA-256, {study.bytes_per_stimulus:,} bytes each: {counts}"
    return Finding("files", True, detail), files


def structure(content: bytes) -> dict[str, Any]:
    """How a picture file is built, without what it shows; of a PNG its header, chunks, zlib header and row filters."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return {"format": content[:4].hex()}
    try:
        chunks, data, header, place = [], b"", b"", 8
        while place < len(content) and (not chunks or chunks[-1] != "IEND"):
            length, name = struct.unpack(">I4s", content[place : place + 8])
            body = content[place + 8 : place + 8 + length]
            chunks.append(name.decode("latin-1"))
            data += body if name == b"IDAT" else b""
            header = body if name == b"IHDR" else header
            place += 12 + length
        width, height, depth, colour, compression, filters, interlace = struct.unpack(">IIBBBBB", header)
        rows = zlib.decompress(data)
    except (struct.error, zlib.error) as error:
        return {"format": f"damaged PNG ({error})"}
    stride = len(rows) // height if height else 1
    return {
        "format": "PNG", "width": width, "height": height, "bit depth": depth, "colour type": colour,
        "compression": compression, "filter method": filters, "interlace": interlace, "chunks": " ".join(chunks),
        "zlib header": data[:2].hex(), "row filters": sorted(set(rows[::stride])), "rest": len(content) - place,
    }  # fmt: skip


def _same(values: Mapping[str, Mapping[str, Any]], channel: str, passed: str) -> Finding:
    """Whether each of these attributes is the same for all stimuli."""
    names = sorted({name for value in values.values() for name in value}, key=lambda name: (name != "format", name))
    for name in names:
        found = Counter(str(value.get(name)) for value in values.values())
        if len(found) > 1:
            most, least = found.most_common()[0][0], found.most_common()[-1][0]
            what = f"{channel}: stimuli differ in {name}, {most[:60]} or {least[:60]}"
            return Finding(channel, False, f"{what}; build the study again with `study build`")
    first = next(iter(values.values()))
    return Finding(channel, True, passed.format(", ".join(f"{name} {first[name]}" for name in names)))


def _transport(study: Study, files: Callable[[], Iterable[tuple[str, bytes]]]) -> Finding:
    """Whether a proxy that compresses would bring the pictures' own entropy to light."""
    saved = max(1 - len(zlib.compress(content, 6)) / len(content) for _, content in files())
    detail = f"compression under way makes no file more than {max(saved, 0):.1%} shorter"
    if saved > TRANSPORT:
        detail = f"transport: compression under way makes a file {saved:.0%} shorter; build with `study build`"
    return Finding("transport", saved <= TRANSPORT, detail)


def _access(study: Study) -> list[Finding]:
    modes = {s: {"permissions": oct(stat.S_IMODE(os.stat(study.stimulus_path(s)).st_mode))} for s in study.by_hash}
    return [_same(modes, "permissions", "all files have the same: {}")]


# --- what has to be independent of the truth ----------------------------------------------------------------


class _Samples:
    """Values beside what has to stay hidden, by channel; in the end they are tested all together."""

    def __init__(self) -> None:
        self.single: dict[str, tuple[list[Any], list[str]]] = {}
        self.tests: list[tuple[str, float, str]] = []
        """(channel, p, what passed or failed) of tests that are already made."""
        self.rows: dict[str, tuple[list[list[float]], list[bool]]] = {}

    def add(self, channel: str, value: Any, truth: str) -> None:
        """One value of a channel and the truth beside it."""
        values, truths = self.single.setdefault(channel, ([], []))
        values.append(value)
        truths.append(truth)

    def add_row(self, name: str, row: Sequence[float], truth: bool) -> None:
        """Everything that is known of one stimulus or trial, for the classifier called `name`."""
        rows, truths = self.rows.setdefault(name, ([], []))
        rows.append(list(row))
        truths.append(truth)

    def findings(self) -> list[Finding]:
        """One for each test, p corrected by Holm."""
        tests = list(self.tests)
        for channel, (values, truths) in self.single.items():
            p = dependence(values, truths)
            tests.append((channel, p, "says nothing of the truth" if p > ALPHA else "tells real from fake"))
        for name, (rows, truths) in self.rows.items():
            accuracy, p = classify(np.array(rows, float), np.array(truths))
            tests.append((f"classifier of {name}", p, f"is right in {accuracy:.1%}, by chance 50%"))
        corrected = _holm([p for _, p, _ in tests])
        return [
            Finding(
                channel, p > ALPHA,
                (f"{what} (p {_p(p)})" if p > ALPHA else f"{channel}: {what} (p {_p(p)}); build the study again, "
                 "if it was built by `study build` with another --seed"), p,
            )
            for (channel, _, what), p in zip(tests, corrected, strict=True)
        ]  # fmt: skip


def _p(p: float) -> str:
    return f"{p:.2f}" if p >= 0.01 else "below 0.001" if p < 0.001 else f"{p:.3f}"


def _holm(ps: Sequence[float]) -> list[float]:
    if not ps:
        return []
    from statsmodels.stats.multitest import multipletests

    return multipletests(np.clip(ps, 0, 1), method="holm")[1].tolist()


def dependence(values: Sequence[Any], truths: Sequence[str]) -> float:
    """p of the hypothesis that values are independent of the truth.

    The smaller of two, doubled: a Kruskal–Wallis test for higher and lower ones, and χ² over bins for any other
    pattern. Text counts by its alphabetical order.
    """
    groups = np.unique(np.array(truths, str), return_inverse=True)[1]
    if isinstance(values[0], (str, bytes)):
        numbers = np.unique(np.array(values), return_inverse=True)[1].astype(float)
    else:
        numbers = np.array(values, float)
    if len(set(groups)) < 2 or len(set(numbers)) < 2:
        return 1.0
    by_group = [numbers[groups == group] for group in sorted(set(groups))]
    ps = [float(stats.kruskal(*by_group).pvalue)]
    # As many bins as leave each group five values in each, if they are independent: below, χ² is no such test.
    bins = min(10, min(len(group) for group in by_group) // 5)
    if bins > 1:
        edges = np.unique(np.quantile(numbers, np.linspace(0, 1, bins + 1)[1:-1]))
        places = np.searchsorted(edges, numbers, side="right")
        table = np.zeros((len(by_group), len(edges) + 1))
        np.add.at(table, (groups, places), 1)
        table = table[:, table.sum(axis=0) > 0]
        if table.shape[1] > 1:
            ps.append(float(stats.chi2_contingency(table, correction=False).pvalue))
    return min(1.0, len(ps) * min(ps))


def classify(rows: np.ndarray, truths: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """How well a linear classifier tells `truths` from rows of numbers: balanced accuracy, left one out, and its p.

    Ridge regression on standardised columns and their squares. Leaving one out has a closed form, so the same
    classifier is fitted to many random permutations of the truth, and p holds whatever the rows are.
    """
    if len(rows) > MOST_SAMPLES:
        kept = np.random.default_rng(seed).choice(len(rows), MOST_SAMPLES, replace=False)
        rows, truths = rows[kept], truths[kept]
    rows = rows - rows.min(axis=0)  # Times in nanoseconds leave a standard deviation nothing but rounding.
    rows = rows[:, rows.max(axis=0) > 0]
    if rows.shape[1] == 0 or truths.all() or not truths.any():
        return 0.5, 1.0
    columns = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    squares = columns**2
    varied = squares.std(axis=0) > 1e-9
    squares = (squares[:, varied] - squares[:, varied].mean(axis=0)) / squares[:, varied].std(axis=0)
    columns = np.hstack([columns, squares])
    gram = columns @ columns.T
    # Ridge in its dual form: hat = K (K + λ n)⁻¹ with the mean taken out, and leave-one-out residuals r / (1 − h).
    count = len(columns)
    hat = gram @ np.linalg.inv(gram + 0.1 * columns.shape[1] * count ** 0.5 * np.eye(count))
    leverage = np.clip(np.diag(hat), 0, 0.999)
    rng = np.random.default_rng(seed)
    signs = np.where(truths, 1.0 / truths.sum(), -1.0 / (~truths).sum())[:, None]
    shuffled = np.hstack([signs, rng.permuted(np.repeat(signs, PERMUTATIONS, axis=1), axis=0)])
    right = np.zeros(shuffled.shape[1])
    for start in range(0, shuffled.shape[1], 500):
        part = shuffled[:, start : start + 500]
        predicted = (hat @ part - leverage[:, None] * part) / (1 - leverage[:, None])
        right[start : start + 500] = (np.abs(part) * ((predicted > 0) == (part > 0))).sum(axis=0) / 2
    beaten = int((right[1:] >= right[0] - 1e-12).sum())
    p = (1 + beaten) / (1 + PERMUTATIONS)
    if beaten < 10:  # Too far out to be counted: by the normal curve that the permutations follow.
        p = min(p, float(stats.norm.sf((right[0] - right[1:].mean()) / max(1e-9, right[1:].std()))))
    return float(right[0]), p


def _file_samples(samples: _Samples, study: Study) -> None:
    """Names, and times and order as the disk has them. A copied study has other times, so equal ones aren't asked."""
    listed = {entry.name: place for place, entry in enumerate(os.scandir(study.folder / "stimuli"))}
    names = sorted(study.by_hash)
    for place, sha256 in enumerate(names):
        stimulus = study.by_hash[sha256]
        truth, info = _label(stimulus), os.stat(study.stimulus_path(sha256))
        name = bytes.fromhex(sha256)
        samples.add("name", place, truth)
        samples.add("first byte of the name", name[0], truth)
        samples.add("last byte of the name", name[-1], truth)
        samples.add("file time", info.st_mtime_ns, truth)
        samples.add("time of writing", info.st_ctime_ns, truth)
        samples.add("place in the folder", listed[f"{sha256}.png"], truth)
        if stimulus.kind in ("real", "fake"):
            row = [place, info.st_mtime_ns % 10**15, info.st_ctime_ns % 10**15, listed[f"{sha256}.png"]]
            row += [*name[:4], name[0] % 2, *name[-2:], name[-1] % 2]
            samples.add_row("files", row, stimulus.kind == "real")


def _sessions(study: Study) -> Iterable[tuple[int, int, tuple[Trial, ...]]]:
    arms = len(study.arms)
    for arm in range(arms):
        for slot in range(max(2, SESSIONS // arms)):
            yield arm, slot, study.trials(arm, slot)


def _truth(trial: Trial) -> str | None:
    """What a trial hides: the side of the real picture, or of the later epoch; None where there is nothing to hide."""
    if trial.right is None:
        return _label(trial.left).partition(" ")[0]
    if trial.real_side in ("left", "right"):
        return trial.real_side
    left, right = (s.epoch if s.epoch is not None else -1 for s in trial.stimuli)
    return None if left == right else "left" if left > right else "right"


def _even_sides(study: Study) -> Finding:
    """Whether sides are even in each session, as planned: at most one more of either, in each phase and kind."""
    count = 0
    for arm, slot, trials in _sessions(study):
        count += 1
        sides: Counter[tuple[str, str]] = Counter()
        for trial in trials:
            if trial.kind in ("comparison", "vigilance"):
                sides[trial.phase, trial.kind] += 1 if _truth(trial) == "left" else -1
        uneven = next((what for what, difference in sides.items() if abs(difference) > 1), None)
        if uneven:
            what = f"sides: session {slot} of arm {arm} has {abs(sides[uneven])} more {uneven[1]} trials at one side"
            return Finding("sides", False, f"{what} than at the other; build the study again")
    return Finding("sides", True, f"even in each of {count} sessions")


def _trial_samples(samples: _Samples, study: Study) -> None:
    """Places and sequences of the trials."""
    lefts = total = 0
    same = expected = variance = 0.0
    for _, slot, trials in _sessions(study):
        sides = []
        for trial in trials:
            truth = _truth(trial)
            if truth is None or trial.kind == "repeat":
                continue
            # Not the names: a stimulus comes back in many sessions, and each with its name. Files are tested above.
            samples.add(f"place of a trial in {trial.phase}", trial.index, truth)
            samples.add("number of the session", slot, truth)
            if trial.right is not None:
                lefts, total = lefts + (truth == "left"), total + 1
            if trial.kind == "comparison":
                place = trial.index - (trial.phase == "test") * study.protocol.practice_trials
                row = [trial.index, place, slot, place % 2, place % 3, place % 4, trial.phase == "test"]
                samples.add_row("trials", row, truth in ("left", "real"))
            if trial.phase == "test" and trial.kind == "comparison":
                sides.append(truth)
        # With as many lefts as there are, neighbours are alike as often as in any random order of them.
        if len(sides) > 2:
            mean, spread = _runs(Counter(sides))
            same += sum(one == other for one, other in zip(sides, sides[1:], strict=False))
            expected, variance = expected + mean, variance + spread
    if total:
        p = float(stats.binomtest(lefts, total).pvalue)
        samples.tests.append(("sides of all sessions", p, f"{lefts:,} of {total:,} at the left"))
    if variance:
        p = float(2 * stats.norm.sf(abs(same - expected) / variance**0.5))
        detail = f"the same side follows {same:,.0f} times, {expected:,.0f} by chance"
        samples.tests.append(("sequence of sides", p, detail))


def _runs(counts: Counter[str]) -> tuple[float, float]:
    """Mean and variance of the number of neighbours that are alike, in a random order of things so often each."""
    n = sum(counts.values())
    pairs = sum(k * (k - 1) for k in counts.values())
    triples = sum(k * (k - 1) * (k - 2) for k in counts.values())
    mean = pairs / n
    # Over pairs of neighbourhoods: the same one, overlapping ones, and disjoint ones.
    fours = sum(
        k * (k - 1) * ((j * (j - 1)) if i != m else (k - 2) * (k - 3))
        for i, k in counts.items()
        for m, j in counts.items()
    )
    square = mean + 2 * (n - 2) * triples / (n * (n - 1) * (n - 2))
    if n > 3:
        square += (n - 2) * (n - 3) * fours / (n * (n - 1) * (n - 2) * (n - 3))
    return mean, max(0.0, square - mean**2)


# --- as the server sends them -------------------------------------------------------------------------------


def _served(samples: _Samples, study: Study) -> list[Finding]:
    """Play some sessions by HTTP; addresses and tokens go to the samples, headers and lengths have to be the same."""
    from cyclegan.study.server import make_app
    from cyclegan.study.simulate import NamedLogin
    from cyclegan.study.store import Store

    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{Path(folder) / 'votes.sqlite3'}")
        try:
            app = make_app([study], store_of=lambda _: store, login=NamedLogin(), origin="simulated")
            answers, texts = asyncio.run(_play(app, study))
        finally:
            store.close()
    for token, (sha256, _) in answers.items():
        truth = _label(study.by_hash[sha256])
        samples.add("token", token, truth)
        samples.add("last sign of the token", ord(token[-1]), truth)
    shapes = {token: {**headers, "length of an address": len(token)} for token, (_, headers) in answers.items()}
    same = _same(shapes, "headers", "{}")
    if same.passed:
        names = ", ".join(sorted(next(iter(shapes.values()))))
        same = Finding("headers", True, f"the same for {len(answers)} pictures as they are served: {names}")
    secrets = {*study.by_hash, *(checkpoint.commit_sha for checkpoint in study.checkpoints)}
    told = next((secret for secret in secrets for text in texts if secret in text), None)
    detail = f"{len(texts)} answers hold no stimulus's hash and no commit"
    if told:
        detail = f"answers: the server names {told[:16]}…, which only study.json should; report this as a fault"
    return [same, Finding("answers", told is None, detail)]


async def _play(app: Any, study: Study) -> tuple[dict[str, tuple[str, dict[str, Any]]], list[str]]:
    """By token, the hash of the picture that was sent and its headers; and the text of all other answers."""
    import httpx

    answers: dict[str, tuple[str, dict[str, Any]]] = {}
    texts: list[str] = []
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://check/{study.name}") as client:

        async def ask(method: str, path: str, **kwargs: Any) -> dict[str, Any]:
            answer = await client.request(method, f"http://check/{study.name}/{path}", **kwargs)
            if answer.status_code != 200:
                raise StudyError("the server refuses to play {study}: {text}", study=study.name, text=answer.text[:200])
            texts.append(answer.text)
            return answer.json()

        await ask("GET", "about")
        for number in range(SERVED):
            screen = {"width": 1280, "height": 800, "dpr": 1, "refresh_hz": 60}
            body = {"participant": f"self-test-{number}", "language": "en", "screen": screen}
            begun = await ask("POST", "session", json=body, headers={"X-Participant": body["participant"]})
            state, headers = begun["state"], {"Authorization": f"Bearer {begun['secret']}"}
            for _ in range(TRIALS_SERVED):
                trial, shown = state["trial"], {}
                if trial is None:
                    break
                for side in ("left", "right"):
                    if trial.get(side):
                        token = trial[side]
                        answer = await client.get(f"http://check/{study.name}/stimulus/{token}", headers=headers)
                        sent = {k: v for k, v in answer.headers.items() if k != "date"}
                        sent["length"], sent["status"] = len(answer.content), answer.status_code
                        shown[side] = study.by_hash[hashlib.sha256(answer.content).hexdigest()]
                        answers[token] = shown[side].sha256, sent
                await ask("POST", "reveal", json={"token": trial["token"]}, headers=headers)
                vote = {"token": trial["token"], **right_answer(study, shown), **measured(study)}
                state = (await ask("POST", "vote", json=vote, headers=headers))["next"]
    return answers, texts


def right_answer(study: Study, shown: Mapping[str, Stimulus]) -> dict[str, Any]:
    """What a participant who knows the truth answers; the left one where there is none."""
    protocol = study.protocol
    if protocol.task == "tag":
        return {"marks": []}
    if "right" not in shown:
        return {"verdict": "real" if shown["left"].kind == "real" else "fake"}
    if protocol.task == "pick":
        return {"chosen_side": "right" if shown["left"].kind == "broken" else "left"}
    wanted = shown["left"].kind == "real" if protocol.question == "real" else shown["left"].kind != "real"
    return {"chosen_side": "left" if wanted else "right"}


def measured(study: Study, response_ms: float = 800.0) -> dict[str, Any]:
    """What a page measures beside an answer, on a display of 60 Hz where all goes well."""
    exposure = study.protocol.exposure_ms or None
    return {
        "exposure_left_ms": exposure,
        "exposure_right_ms": exposure if study.protocol.presentation != "single" else None,
        "frames": round((exposure or 1000) * 0.06), "longest_frame_ms": 16.7, "focus_lost": False,
        "response_ms": response_ms,
    }  # fmt: skip


# --- what is worth knowing ----------------------------------------------------------------------------------


def jpeg_grid(image: Image.Image) -> float:
    """How much stronger edges are at every 8th column and row, where JPEG's blocks meet, than at others; 1: as others.

    A ratio of mean absolute differences of neighbouring grey values, the mean of both directions.
    """
    grey = np.asarray(image.convert("L"), float)
    ratios = []
    for array in (grey, grey.T):
        steps = np.abs(np.diff(array, axis=1)).mean(axis=0)
        at_grid = np.arange(1, len(steps) + 1) % 8 == 0
        ratios.append(float((steps[at_grid].mean() + 0.1) / (steps[~at_grid].mean() + 0.1)))
    return sum(ratios) / 2


def _notes(study: Study, files: Callable[[], Iterable[tuple[str, bytes]]]) -> list[str]:
    """The grid of JPEG in the pixels is part of the pictures, as the data set has it, so it fails nothing."""
    notes = []
    grids: dict[str, list[float]] = {"real": [], "fake": []}
    for sha256, content in files():
        kind = study.by_hash[sha256].kind
        if kind in grids and len(grids[kind]) < 200:
            with Image.open(io.BytesIO(content)) as image:
                grids[kind].append(jpeg_grid(image))
    if all(len(values) > 4 for values in grids.values()):
        real, fake = (float(np.median(grids[kind])) for kind in ("real", "fake"))
        if abs(real - fake) > JPEG_GRID and stats.mannwhitneyu(grids["real"], grids["fake"]).pvalue < ALPHA:
            more = "real pictures" if real > fake else "fakes"
            notes.append(
                f"the {more} show more of JPEG's grid of 8 pixels ({real:.2f} real, {fake:.2f} fake; 1: none), which a "
                "sharp eye may learn: pictures that are scaled down to the networks' size have none"
            )
    return notes


def _resolution(study: Study) -> dict[str, Any] | None:
    """Of the fooling rate; preferences and marks have no such figure."""
    if study.protocol.task != "realness":
        return None
    from cyclegan.study.statistics import ASSUMED_CORRELATION, resolution

    found = resolution(study.protocol, PARTICIPANTS, epochs=len(study.epochs))
    return {"participants": PARTICIPANTS, "icc": ASSUMED_CORRELATION, **dataclasses.asdict(found)}
