"""The self-test that each study has to pass: nothing but the pictures may tell real from fake.

Attributes that can be made the same for all stimuli have to be the same: a single difference fails. The others, such
as names or places in a sequence, have to be independent of the truth, by tests of each and by a classifier of all. An
attack tries to compute the sequences.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import stat
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from PIL import Image
from scipy import stats

from cyclegan.errors import Message, StudyError, message
from cyclegan.study.attack import attack_sequences
from cyclegan.study.blinding_http import check_answers
from cyclegan.study.findings import BlindingReport, Finding, check_same, label, listed
from cyclegan.study.format import MARK_CHUNK, Study
from cyclegan.study.independence import ALPHA, Samples, add_files, add_trials, check_sides

PARTICIPANTS = 25
"""Participants per epoch, as in the CycleGAN paper, for whom a study without a plan has its resolution computed."""
JPEG_GRID = 0.05
"""Difference of the medians of `jpeg_grid`, real against fake, above which it is worth a note."""


def check(study: Study, *, over_http: bool = True) -> BlindingReport:
    """Try to tell real from fake, and one epoch from another, by everything but the content of the pictures.

    Args:
        study: with its folder.
        over_http: also play some sessions against the server, in this process and with a temporary database.

    Raises:
        StudyError: the study has no folder.
    """
    if study.folder is None:
        raise StudyError("{study} has no folder: write it first", study=study.name)
    whole, files = _check_files(study)
    if not whole.passed:
        return BlindingReport(study.name, (whole,))
    findings = [whole]
    if study.protocol.task == "realness" and study.protocol.presentation != "single":
        findings.append(check_sides(study))
    samples = Samples()
    findings += [_check_encoding(samples, study, files()), _check_permissions(study)]
    findings += _check_sequences(samples, study)
    add_files(samples, study)
    if over_http:
        findings += check_answers(samples, study)
    add_trials(samples, study)
    findings += samples.findings()
    return BlindingReport(study.name, tuple(findings), tuple(_notes(study, files)), resolution_of(study))


def _check_files(study: Study) -> tuple[Finding, Callable[[], Iterable[tuple[str, bytes]]]]:
    """Check that exactly the named files exist, with their hashes; return a function that reads them again, too."""

    def files() -> Iterable[tuple[str, bytes]]:
        for sha256 in sorted(study.by_hash):
            yield sha256, study.stimulus_path(sha256).read_bytes()

    def failed(problem: Message) -> tuple[Finding, Callable[[], Iterable[tuple[str, bytes]]]]:
        detail = message("{problem}: build the study again, or get it again", problem=problem)
        return Finding("files", False, detail), files

    folder = study.folder / "stimuli"
    expected = {f"{sha256}.png" for sha256 in study.by_hash}
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if len(study.by_hash) < len(study.stimuli):
        return failed(message("two stimuli are one file"))
    if missing := sorted(expected - found):
        return failed(message(
            "the stimulus {name}… is missing", "{n} of {total} stimuli are missing, {name}… first", len(missing),
            total=len(expected), name=missing[0][:16],
        ))  # fmt: skip
    if extra := sorted(found - expected):
        return failed(message("{file} isn't a stimulus of this study", file=extra[0][:40]))
    sizes = Counter()
    try:
        for sha256, content in files():
            if hashlib.sha256(content).hexdigest() != sha256:
                return failed(message("{name}….png isn't the file that study.json names", name=sha256[:16]))
            sizes[len(content)] += 1
    except OSError as error:
        return failed(message("a stimulus can't be read ({reason})", reason=error))
    if set(sizes) != {study.bytes_per_stimulus}:
        return failed(message(
            "the files have {most:,} bytes, not {planned:,} each",
            "the files have {n} lengths, {least:,} to {most:,} bytes, not {planned:,} each", len(sizes),
            least=min(sizes), most=max(sizes), planned=study.bytes_per_stimulus,
        ))  # fmt: skip
    kinds = Counter(label(s, study.labels) for s in study.stimuli)
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    detail = message(
        "{n} file with the SHA-256 of its name, {size:,} bytes: {counts}",
        "{n} files with the SHA-256 of their names, {size:,} bytes each: {counts}", len(expected),
        size=study.bytes_per_stimulus, counts=counts,
    )  # fmt: skip
    return Finding("files", True, detail), files


def structure(content: bytes) -> dict[str, Any]:
    """Return how a picture file is built: everything in it but the pixels, checksums and the build's own mark.

    Of a PNG these are its header, the order and lengths of chunks, the content of those that hold no pixels, the blocks
    of the compressed stream, the row filters, and bytes after the end.
    """
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return {"format": content[:4].hex()}
    try:
        chunks, data, header, other, place = [], b"", b"", b"", 8
        while place < len(content) and (not chunks or not chunks[-1].startswith("IEND")):
            length, name = struct.unpack(">I4s", content[place : place + 8])
            body = content[place + 8 : place + 8 + length]
            chunks.append(f"{name.decode('latin-1')} {length}")
            data += body if name == b"IDAT" else b""
            header = body if name == b"IHDR" else header
            other += body if name not in (b"IHDR", b"IDAT", MARK_CHUNK) else b""
            place += 12 + length
        width, height, depth, colour, compression, filters, interlace = struct.unpack(">IIBBBBB", header)
        stream = zlib.decompressobj()
        rows = stream.decompress(data)
    except (struct.error, zlib.error) as error:
        return {"format": f"damaged PNG ({error})"}
    filters_of_rows = rows[:: len(rows) // height if height else 1]
    return {
        "format": "PNG", "width": width, "height": height, "bit depth": depth, "colour type": colour,
        "compression": compression, "filter method": filters, "interlace": interlace, "zlib header": data[:2].hex(),
        "row filters": filters_of_rows[0] if len(set(filters_of_rows)) == 1 else filters_of_rows.hex(),
        "chunks": ", ".join(chunks), "blocks": _blocks(data[: len(data) - len(stream.unused_data)]),
        "other content": other.hex() or "none", "rest": content[place:].hex() or "none",
    }  # fmt: skip


def _blocks(data: bytes) -> str:
    """Return the layout of a zlib stream: the lengths of stored blocks, or where a compressed block begins."""
    lengths, place, last = [], 2, False
    while not last:
        last = bool(data[place] & 1)
        if data[place] & 6:  # The length of what is compressed is the pictures' entropy, so it is among the attributes.
            return f"compressed after {len(lengths)}, in all {len(data)}"
        length = int.from_bytes(data[place + 1 : place + 3], "little")
        lengths.append(length)
        place += 5 + length
    return f"stored {len(lengths)}, last {lengths[-1]}, in all {sum(lengths)}"


def _check_encoding(samples: Samples, study: Study, files: Iterable[tuple[str, bytes]]) -> Finding:
    """Check that all files are built in the same way, and add to the samples what the build's marks begin with."""
    shapes = {}
    for sha256, content in files:
        shapes[sha256] = structure(content)
        if (place := content.rfind(MARK_CHUNK)) >= 0:
            samples.add("mark", content[place + len(MARK_CHUNK)], label(study.by_hash[sha256]))
    differing, same = check_same(shapes, "encoding")
    detail = message("the files are built in the same way: {attributes}", attributes=listed(same))
    return differing or Finding("encoding", True, detail)


def _check_sequences(samples: Samples, study: Study) -> list[Finding]:
    """Attack the sequences: a study without a secret fails, and the answers of the attack on another are tested."""
    found = attack_sequences(study)
    if study.secret_sha256:
        if found.trials:
            result = message("an attack that computes them is right in {rate:.1%} of {n} trial, by chance 50%",
                             "an attack that computes them is right in {rate:.1%} of {n} trials, by chance 50%",
                             found.trials, rate=found.right / found.trials)  # fmt: skip
            p = float(stats.binomtest(found.right, found.trials, alternative="greater").pvalue)
            samples.tests.append(("sequences", p, result))
        return []
    how = message("the attack here tried too few seeds to find its own, which a longer one does")
    if found.found:
        how = message("an attack found its seed in {share:.0%} of sessions", share=found.found / found.sessions)
    if found.found and found.trials:
        how = message("{how} and was right in {rate:.0%} of trials without a look at the pictures", how=how,
                      rate=found.right / found.trials)  # fmt: skip
    return [Finding("sequences", False, message(
        "sequences: the study was built before there was a secret, so participants can compute them: {how}; build it "
        "again for anyone who may cheat", how=how,
    ))]  # fmt: skip


def _check_permissions(study: Study) -> Finding:
    modes = {s: {"permissions": oct(stat.S_IMODE(os.stat(study.stimulus_path(s)).st_mode))} for s in study.by_hash}
    differing, same = check_same(modes, "permissions")
    detail = message("all files have the same: {attributes}", attributes=listed(same))
    return differing or Finding("permissions", True, detail)


def jpeg_grid(image: Image.Image) -> float:
    """Return how much stronger edges are at every 8th column and row, where JPEG's blocks meet; 1: not stronger.

    It is the ratio of mean absolute differences of neighbouring grey values, averaged over both directions.
    """
    grey = np.asarray(image.convert("L"), float)
    ratios = []
    for array in (grey, grey.T):
        steps = np.abs(np.diff(array, axis=1)).mean(axis=0)
        at_grid = np.arange(1, len(steps) + 1) % 8 == 0
        ratios.append(float((steps[at_grid].mean() + 0.1) / (steps[~at_grid].mean() + 0.1)))
    return sum(ratios) / 2


def _notes(study: Study, files: Callable[[], Iterable[tuple[str, bytes]]]) -> list[Message]:
    """Return a note on training pictures, and one if JPEG's grid differs, which is the data set's and fails nothing."""
    notes = [study.seen] if study.seen else []
    grids: dict[str, list[float]] = {"real": [], "fake": []}
    by_method: dict[str, list[float]] = {name: [] for name in study.labels.values()}
    for sha256, content in files():
        stimulus = study.by_hash[sha256]
        of_method = by_method.get(study.labels.get(stimulus.epoch, ""))
        if stimulus.kind in grids and len(grids[stimulus.kind] if of_method is None else of_method) < 200:
            with Image.open(io.BytesIO(content)) as image:
                grids[stimulus.kind].append(jpeg_grid(image))
            if of_method is not None:
                of_method.append(grids[stimulus.kind][-1])
    for name, values in by_method.items():
        others = [value for other, found in by_method.items() if other != name for value in found]
        if len(values) > 4 and len(others) > 4 and _has_more(values, others):
            notes.append(message(
                "the fakes of {name} show more of JPEG's grid of 8 pixels than the other fakes ({own:.2f} and "
                "{others:.2f}; 1: none), which may give them away: get pictures that were never JPEG files",
                name=name, own=float(np.median(values)), others=float(np.median(others)),
            ))  # fmt: skip
    if all(len(values) > 4 for values in grids.values()):
        real, fake = (float(np.median(grids[kind])) for kind in ("real", "fake"))
        if _has_more(grids["real"], grids["fake"]) or _has_more(grids["fake"], grids["real"]):
            if real > fake:
                template = message(
                    "the real pictures show more of JPEG's grid of 8 pixels ({real:.2f} real, {fake:.2f} fake; 1: "
                    "none), which a sharp eye may learn: pictures that are scaled down to the networks' size have none",
                    real=real, fake=fake,
                )
            else:
                template = message(
                    "the fakes show more of JPEG's grid of 8 pixels ({real:.2f} real, {fake:.2f} fake; 1: none), which "
                    "a sharp eye may learn: pictures that are scaled down to the networks' size have none",
                    real=real, fake=fake,
                )
            notes.append(template)
    return notes


def _has_more(values: list[float], others: list[float]) -> bool:
    """Return whether values of `jpeg_grid` are clearly larger than others."""
    larger = float(np.median(values)) - float(np.median(others)) > JPEG_GRID
    return larger and bool(stats.mannwhitneyu(values, others).pvalue < ALPHA)


def resolution_of(study: Study, participants: int | None = None) -> dict[str, Any] | None:
    """Return the resolution of the fooling rate with so many participants per epoch; None where there is no such rate.

    Args:
        participants: None: those that the study plans, or PARTICIPANTS without a plan.

    Raises:
        StudyError: the study's secret is missing.
    """
    if not study.protocol.gives_rate:
        return None
    if participants is None:
        participants = study.protocol.planned_participants if study.protocol.results != "open" else PARTICIPANTS
    from cyclegan.study.statistics import ASSUMED_CORRELATION, resolution

    pictures = [len(study.sequences.test_scenes)]
    if study.protocol.presentation != "single" and study.protocol.pairing == "different":
        pictures.append(len(study.sequences.test_reals))
    found = resolution(study.protocol, participants, epochs=len(study.epochs), pictures=pictures)
    return {"participants": participants, "icc": ASSUMED_CORRELATION, "kind": "method" if study.labels else "epoch",
            **dataclasses.asdict(found)}
