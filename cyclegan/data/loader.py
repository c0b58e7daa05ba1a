"""`Data`: a checked data set, the batches of an epoch, and the fixed test pictures."""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from cyclegan.config import DataConfig
from cyclegan.data.cache import BatchMaker, PictureCache, fits_cache, pixel_bytes
from cyclegan.data.contents import counted
from cyclegan.data.domains import Domain, Files, Splits, Subset, named
from cyclegan.data.holdout import test_part
from cyclegan.data.next_frames import followers
from cyclegan.data.order import Step, step_plans, steps_in
from cyclegan.errors import DataError, ImageError, Message, message, shown
from cyclegan.images import evaluation_size, prepare_for_evaluation, to_tensor, training_size
from cyclegan.pixels import PictureFacts, notes_on, recorded_facts

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from cyclegan.rasters.raster import Raster

__all__ = ["Data", "print_found", "workers"]

log = logging.getLogger(__name__)
_LISTED = 20  # bad pictures in a summary
FEW_PICTURES = 300
"""A domain with fewer training pictures gets the advice to vary them."""
TOO_FEW = 10
"""A domain with fewer training pictures gets the advice to add some."""


class Data:
    """A data set that was checked and is ready to train on; `cyclegan.data.open_data` returns it.

    Attributes:
        train_a, train_b: the usable training pictures.
        test_a, test_b: the test pictures, or the training pictures if the set has no test split.
        test_is_train: whether it has none.
        no_test_note: the sentence about this, with the remedy; None if it has some.
        paired: whether batches hold pairs: same scene, same crop, same mirror.
        epoch_length: samples in an epoch: the longer domain's pictures, or the pairs.
        num_workers: processes that decode, as chosen.
        cache_bytes: memory of the decoded pictures.
    """

    def __init__(
        self, splits: Splits, config: DataConfig, *, seed: int, multiple: int, paired: bool,
        progress: bool = True, local_processes: int = 1, frames_within: Mapping[str, int] | None = None,
    ) -> None:
        self.config, self.seed, self.multiple, self.paired = config, seed, multiple, paired
        limit = config.max_images
        train = [_first(domain, limit) for domain in (splits.train_a, splits.train_b)]
        test = [domain for domain in (splits.test_a, splits.test_b) if domain is not None]
        self.test_is_train = not test
        self.no_test_note = without_tests(splits, config.dataset) if self.test_is_train else None
        if progress:  # In one process of several.
            print_found(splits)
            _print_advice(splits, config)
        followers(train, frames_within or {})  # Raises before everything is decoded.
        check = _Check(train, test, config, multiple=multiple, progress=progress)

        sizes = check.sizes()
        budget = (config.cache_mb << 20) // local_processes
        self.values = config.values("a"), config.values("b")
        fits = fits_cache(sizes, budget, [pixel_bytes(each) for each in self.values])
        self.num_workers = workers(config.num_workers, fits, local_processes)
        cache = PictureCache(sizes, budget, shared=self.num_workers > 0, values=self.values)
        check.decode(BatchMaker(tuple(train), cache, config, seed=seed, multiple=multiple, paired=paired))
        kept_train, kept_test = check.kept(splits.aligned)
        if progress:
            for line in check.facts_lines():
                log.warning("%s", line)
        cache.keep(kept_train)
        self._sizes = cache.sizes
        self.cache_bytes = cache.bytes

        self.train_a, self.train_b = (_subset(d, k) for d, k in zip(train, kept_train, strict=True))
        if self.test_is_train:
            self.test_a, self.test_b = self.train_a, self.train_b
            log.info("the data set has no test split: samples and scores come from training pictures")
        else:
            self.test_a, self.test_b = (_subset(d, k) for d, k in zip(test, kept_test, strict=True))
        if paired:
            self._check_partners()
        self.epoch_length = max(len(self.train_a), len(self.train_b))
        self._maker = BatchMaker(
            (self.train_a, self.train_b), cache, config, seed=seed, multiple=multiple, paired=paired,
            following=followers((self.train_a, self.train_b), frames_within or {}, self._sizes, progress=progress),
        )  # fmt: skip
        self._loader = None
        self._plans = _Plans()
        self._running: object = None

    def __enter__(self) -> Data:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def steps_per_epoch(self, batch_size: int, num_processes: int = 1, accumulation: int = 1) -> int:
        """Return the steps of each process in an epoch, and raise DataError, as `steps_in` does."""
        return steps_in(self.epoch_length, batch_size, num_processes, accumulation)

    def check_batch(self, batch_size: int, num_processes: int = 1, accumulation: int = 1) -> None:
        """Raise DataError if no batch fits in an epoch, or pictures of different sizes would share one."""
        self.steps_per_epoch(batch_size, num_processes, accumulation)
        self._check_one_size(batch_size)

    def batches(
        self, epoch: int, *, batch_size: int, process_index: int = 0, num_processes: int = 1,
        start_step: int = 0,
    ) -> Iterator[dict[str, torch.Tensor]]:
        """Return the batches of one process in one epoch, from step `start_step` on.

        Order, crops and mirroring depend only on (seed, epoch) and a sample's position in the epoch; not on workers,
        processes (two together see what one sees with twice the batch) or restarts. With workers, one iterator can be
        used at a time: starting another ends the first.

        Yields:
            {"real_a", "real_b"}: uint8 (batch_size, H, W, 3), of other pictures than 8-bit RGB float32 (batch_size, H,
            W, C) in [-1, 1], cropped and mirrored, on the CPU; pinned for CUDA. Also
            "next_a" and "next_b" if next frames are wanted and the domain has some: those of the pictures, or where
            there is none the picture itself, with the same crop and mirroring.
            `cyclegan.images.normalise` turns them into networks' input, best on their device, because then a quarter
            of the bytes is copied there.

        Raises:
            DataError: at once, if no batch fits or pictures of different sizes would share a batch; later, if a
                picture can't be read any more or a worker process died.
        """
        self.check_batch(batch_size, num_processes)
        if not 0 <= process_index < num_processes:
            raise ValueError(f"process_index {process_index} is not in 0 … {num_processes - 1}")
        plans = step_plans(
            self.seed, epoch, (len(self.train_a), len(self.train_b)), paired=self.paired,
            batch_size=batch_size, process_index=process_index, num_processes=num_processes,
            start_step=start_step, random=self.config.order == "random",
        )
        return self._batches_by_workers(plans) if self.num_workers else self._batches_here(plans)

    def samples(self, count: int) -> dict[str, list]:
        """Return fixed test pictures, spread evenly over each test domain, for the sample grid.

        Returns:
            "real_a", "real_b": lists of float32 (C, H, W) in [-1, 1], prepared for evaluation, at most `count` each;
            "label_a", "label_b": their labels. If the data set has the same scenes in the other domain, also
            "truth_b" (of real_a's scenes) and "truth_a" (of real_b's).

        Raises:
            DataError: a picture can't be read any more.
        """
        result: dict[str, list] = {}
        for side, other, domain in (("a", "b", self.test_a), ("b", "a", self.test_b)):
            picked = _spread(count, domain)
            try:
                result[f"real_{side}"] = [self._prepared(domain.load(i), side) for i in picked]
                truths = [domain.truth(i) for i in picked]
            except ImageError as error:
                raise DataError(error.message) from error
            result[f"label_{side}"] = [domain.label(i) for i in picked]
            if truths and all(t is not None for t in truths):
                result[f"truth_{other}"] = [self._prepared(t, other) for t in truths]
        return result

    def measured_on(self, count: int) -> dict[str, str]:
        """Return the split of `samples(count)`, "test" or "train", and a fingerprint of those pictures.

        Raises:
            DataError: a picture can't be read any more.
        """
        digest = hashlib.blake2b(digest_size=8)
        for domain in (self.test_a, self.test_b):
            for i in _spread(count, domain):
                try:
                    digest.update(f"{domain.fingerprint(i) or domain.label(i)}\n".encode(errors="replace"))
                except (OSError, ImageError) as error:
                    raise DataError("{picture} can't be read any more", picture=domain.where(i)) from error
        return {"split": "train" if self.test_is_train else "test", "pictures": digest.hexdigest()}

    def close(self) -> None:
        """End the worker processes and release the cache. The data can't be used afterwards."""
        self._drop_loader()
        self._maker = None

    def _prepared(self, image: Image.Image | Raster, side: str) -> torch.Tensor:
        image, values = prepare_for_evaluation(image, self.config, multiple=self.multiple), self.config.values(side)
        return to_tensor(image) if values.plain else values.to_tensor(image)

    def _check_partners(self) -> None:
        """Raise DataError unless the pictures of each pair have the same size, because they get the same crop."""
        for index, (first, second) in enumerate(zip(*(sizes.tolist() for sizes in self._sizes), strict=True)):
            if first != second:
                raise DataError(
                    "two pictures of a pair differ in size: with --preprocess {preprocess}, {first} has {first_size} "
                    "and {second} has {second_size}; use --preprocess resize_crop or resize",
                    preprocess=self.config.preprocess, first=self.train_a.where(index),
                    second=self.train_b.where(index), first_size="×".join(map(str, first)),
                    second_size="×".join(map(str, second)),
                )  # fmt: skip

    def _check_one_size(self, batch_size: int) -> None:
        if batch_size == 1 or not self.config.keeps_shape:
            return
        for domain, sizes in zip((self.train_a, self.train_b), self._sizes, strict=True):
            if len(different := np.unique(sizes, axis=0)) > 1:
                first, last = ("×".join(map(str, size)) for size in (different[0], different[-1]))
                raise DataError(
                    "with --preprocess {preprocess} the pictures of {domain} have {count} sizes ({first} … {last}), "
                    "which can't share a batch: use --batch_size 1, or --preprocess resize_crop",
                    preprocess=self.config.preprocess, domain=domain.name, count=len(different), first=first, last=last,
                )  # fmt: skip

    def _batches_here(self, plans: Iterable[Step]) -> Iterator[dict[str, torch.Tensor]]:
        import torch

        pin = torch.cuda.is_available()
        for step in plans:
            try:
                batch = self._maker.batch(step)
            except ImageError as error:
                raise _lost(error) from error
            yield {k: v.pin_memory() for k, v in batch.items()} if pin else batch

    def _batches_by_workers(self, plans: Iterable[Step]) -> Iterator[dict[str, torch.Tensor]]:
        self._running = token = object()
        self._plans.steps = plans
        if self._loader is None:
            self._loader = self._new_loader()
        try:
            for batch in self._loader:
                if isinstance(batch, ImageError):
                    raise _lost(batch)
                yield batch
                if self._running is not token:
                    raise RuntimeError("another iterator over the batches was started: use one only")
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            self._drop_loader()
            raise DataError(
                "a process that decodes pictures died, probably for lack of memory: lower --num_workers or "
                "--cache_mb, or enlarge the container's shared memory ({reason})",
                reason=" ".join(str(error).split())[:200],
            ) from error

    def _new_loader(self):
        import torch

        return torch.utils.data.DataLoader(
            _Steps(self._maker), sampler=self._plans, batch_size=None, num_workers=self.num_workers,
            persistent_workers=True, prefetch_factor=4, pin_memory=torch.cuda.is_available(),
            # The loader draws a seed per epoch; without a generator of its own, from torch's global state.
            generator=torch.Generator(),
        )

    def _drop_loader(self) -> None:
        self._loader = None  # Persistent workers end with their loader.


class _Plans:
    """The DataLoader's sampler: yields the steps that were set last, so that workers need no state."""

    steps: Iterable[Step] = ()

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)


class _Steps:
    """The DataLoader's data set: a step in, a batch out; if a picture failed, its error.

    The error is returned rather than raised, because the DataLoader would raise it with a traceback as its text.
    """

    def __init__(self, maker: BatchMaker) -> None:
        self.maker = maker

    def __getitem__(self, step: Step) -> dict[str, torch.Tensor] | ImageError:
        try:
            return self.maker.batch(step)
        except ImageError as error:
            return error


class _Check:
    """Opens every picture once before training, so that damaged files don't end it after hours."""

    def __init__(
        self, train: list[Domain], test: list[Domain], config: DataConfig, *, multiple: int, progress: bool
    ) -> None:
        self.train, self.test, self.config, self.multiple = train, test, config, multiple
        self.progress = progress
        self.domains = [*train, *test]
        self.bad: dict[tuple[int, int], str] = {}  # by (domain, index) the reason
        self.facts: dict[tuple[int, int], list[PictureFacts]] = {}

    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return per training domain int64 (n, 2): sizes after resizing, read from headers if they can differ."""
        if self.config.preprocess in ("resize", "resize_crop"):
            size = training_size((1, 1), self.config)
            return tuple(np.full((len(d), 2), size, np.int64) for d in self.train)
        sizes = tuple(np.zeros((len(d), 2), np.int64) for d in self.train)

        def probe(domain: int, index: int) -> None:
            size = self.train[domain].probe(index)
            with named(self.train[domain], index):
                sizes[domain][index] = training_size(size, self.config, multiple=self.multiple)

        self._each(probe, [(d, i) for d in range(2) for i in range(len(self.train[d]))], "Reading sizes")
        return sizes

    def decode(self, maker: BatchMaker) -> None:
        """Decode every picture that may be bad or has a place in the cache."""

        def decode(domain: int, index: int) -> None:
            with recorded_facts() as facts:
                if domain < 2:
                    maker.fill(domain, index)
                else:
                    size = self.domains[domain].load(index).size
                    with named(self.domains[domain], index):
                        evaluation_size(size, self.config, multiple=self.multiple)
            self.facts[domain, index] = facts

        def needed(domain: int, index: int) -> bool:
            cached = domain < 2 and maker.cache.get(domain, index) is not None
            return (cached or self.domains[domain].fallible) and (domain, index) not in self.bad

        units = [(d, i) for d, domain in enumerate(self.domains) for i in range(len(domain)) if needed(d, i)]
        self._each(decode, units, "Checking pictures")

    def kept(self, aligned: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the numbers of the pictures to use, per training and per test domain.

        Raises:
            DataError: pictures are bad and `skip_bad_images` is off; or no picture is left in a domain.
        """
        if self.bad:
            messages = list(dict.fromkeys(self.bad[unit] for unit in sorted(self.bad)))  # a pair's file once
            listed = "\n".join(f"  {text}" for text in messages[:_LISTED])
            if len(messages) > _LISTED:
                listed += f"\n  … and {len(messages) - _LISTED} more"
            if not self.config.skip_bad_images:
                raise DataError(
                    "{count} of the data set's files can't be used:\n{listed}\nRepair or remove them, or pass "
                    "--skip_bad_images to continue without them.",
                    count=len(messages), listed=Message(listed),
                )  # fmt: skip
            # Several processes find the same files, so only one warns.
            level = logging.WARNING if self.progress else logging.INFO
            log.log(level, "%d of the data set's files can't be used:\n%s\nThey are left out.", len(messages), listed)
        bad = [{i for d, i in self.bad if d == domain} for domain in range(len(self.domains))]
        if aligned:
            bad = [bad[d] | bad[d ^ 1] for d in range(len(bad))]
        kept = []
        for domain, without in zip(self.domains, bad, strict=True):
            kept.append(np.array([i for i in range(len(domain)) if i not in without], np.int64))
            if not len(kept[-1]):
                raise DataError(
                    "no picture of {domain} can be used: all {count} are bad",
                    domain=domain.name, count=len(domain),
                )
        return kept[:2], kept[2:]

    def facts_lines(self) -> list[str]:
        """Return a sentence for each kind of thing that pictures of a folder lost; once for both halves of a pair."""
        lines = []
        for number, domain in enumerate(self.domains):
            facts = [one for (of, _), ones in sorted(self.facts.items()) if of == number for one in ones]
            lines += [f"{domain.part}: {note}" for note in notes_on(facts)]
        return list(dict.fromkeys(lines))

    def _each(self, job: Callable[[int, int], None], units: list[tuple[int, int]], title: str) -> None:
        """Run the job for all (domain, index), in threads, because Pillow decodes without the GIL; record failures."""

        def attempt(unit: tuple[int, int]) -> str | None:
            try:
                return job(*unit)
            except ImageError as error:
                return str(error)

        pool = ThreadPoolExecutor(max_workers=min(16, _cpus() + 1))
        try:
            results = pool.map(attempt, units)
            every = 0.1 if sys.stderr.isatty() else 10.0  # A log file needs few lines.
            bar = tqdm(
                results, total=len(units), desc=title, unit="picture", disable=not self.progress, mininterval=every
            )
            self.bad.update({unit: text for unit, text in zip(units, bar, strict=True) if text})
        finally:  # After Ctrl-C, don't decode the rest first.
            pool.shutdown(wait=True, cancel_futures=True)


def print_found(splits: Splits) -> None:
    """Print what was found and what isn't used, without tearing a bar."""
    for note in splits.notes:
        tqdm.write(str(note), file=sys.stderr)
    if (names := (splits.train_a.name, splits.train_b.name)) != ("A", "B"):
        tqdm.write("domain A is {}, domain B is {}".format(*map(shown, names)), file=sys.stderr)


def _print_advice(splits: Splits, config: DataConfig) -> None:
    """Print which pictures are used, a remedy for few of them, and warnings."""
    limit = config.max_images
    if limit is not None and max(len(splits.train_a), len(splits.train_b)) > limit:
        tqdm.write(f"--max_images: the first {limit} of each are used", file=sys.stderr)
    for advice in _few_pictures(splits, config):
        tqdm.write(str(advice), file=sys.stderr)
    for warning in splits.warnings:
        log.warning("%s", warning)


def _few_pictures(splits: Splits, config: DataConfig) -> list[Message]:
    """Return advice for a data set of few pictures, unless they are drawn by code or changed at random already."""
    smaller = min((splits.train_a, splits.train_b), key=len)
    changed = (config.augment, config.diff_augment) != ("none", "none") or any(
        (config.rotate, config.zoom, config.shift, config.colour)
    )
    # With --max_images, few are what a person wants.
    if changed or config.max_images or not smaller.fallible or len(smaller) >= FEW_PICTURES:
        return []
    if len(smaller) < TOO_FEW:
        return [message(
            "{part} has only {pictures}: enough to try the program out, too few to learn a translation from; a few "
            "hundred in each domain are usual",
            pictures=counted(len(smaller)), part=smaller.part,
        )]  # fmt: skip
    return [message(
        "{part} has only {pictures}, so discriminators may learn them by heart: consider --augment small "
        "(docs/training.md, Few pictures)",
        pictures=counted(len(smaller)), part=smaller.part,
    )]  # fmt: skip


def without_tests(splits: Splits, dataset: str) -> Message:
    """Return the note on a data set without test pictures: what this means, and how to get some in its own layout."""
    a, b = splits.train_a, splits.train_b
    note = message("the data set has no test pictures, so samples and figures are of training pictures")
    if not a.fallible:
        return message("{note}; add test_count=50 to --dataset to draw some", note=note)
    if not isinstance(a, Files) or "(" in a.part:  # Tables, and pictures with metadata.
        return message("{note}; give it a split called test", note=note)
    tests = [test_part(domain.part) for domain in (a, b)]
    if min(len(a), len(b)) < TOO_FEW:  # Nothing is left to train on if they are taken from these.
        folders = tests[0] if a.part == b.part else message("{a} and {b}", a=tests[0], b=tests[1])
        return message("{note}; put some others into {folders}", note=note, folders=folders)
    command = shlex.join(["python", "-m", "cyclegan", "holdout", dataset])
    if a.part == b.part:
        return message("{note}; {command} moves one pair in ten from {train} to {test}", note=note, command=command,
                       train=a.part, test=tests[0])  # fmt: skip
    return message(
        "{note}; {command} moves one in ten from {train_a} to {test_a} and from {train_b} to {test_b}", note=note,
        command=command, train_a=a.part, test_a=tests[0], train_b=b.part, test_b=tests[1],
    )  # fmt: skip


def _first(domain: Domain, limit: int | None) -> Domain:
    """Return the first pictures in listing order, so that a limited run uses the same pictures with every seed."""
    return domain if limit is None or len(domain) <= limit else Subset(domain, range(limit))


def _spread(count: int, domain: Domain) -> list[int]:
    """Return at most `count` indices, evenly spread."""
    return np.linspace(0, len(domain) - 1, min(max(count, 0), len(domain))).round().astype(int).tolist()


def _subset(domain: Domain, kept: np.ndarray) -> Domain:
    return domain if len(kept) == len(domain) else Subset(domain, kept.tolist())


def workers(wanted: int, all_cached: bool, local_processes: int) -> int:
    """Return the number of workers; -1 chooses none if nothing is left to decode, as they would cost more then."""
    if wanted >= 0:
        return wanted
    return 0 if all_cached else max(1, min(4, _cpus() // local_processes - 1))


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _lost(error: ImageError) -> DataError:
    return DataError("{reason} (it could be read when training began)", reason=error)
