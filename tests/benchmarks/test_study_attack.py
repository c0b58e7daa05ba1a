"""The attacks of the benchmark: each beats a study as it was built at first, and none of them a new one."""

import numpy as np
import pytest

from benchmarks.study_attack import Drawn, answered, as_before, by_files, by_graph, counted, outside
from cyclegan.study.build import encode_png, mark_png
from tests.study.made_up import unseen_study

SECRET = "a" * 64
SMALL = {"scenes": 60, "paired": False}


@pytest.mark.parametrize("kind", [
    {"preset": "hype_infinity"}, {"qualification": 0.65, "practice_trials": 20}
], ids=["single", "pairs"])  # fmt: skip
def test_counting_does_not_pass_a_qualification(kind):
    """Where half of practice was real for sure, a counter passed 13 of 20 in 42% instead of 13%."""
    before, now = (
        counted(unseen_study(secret=secret, epochs=(1,), test_trials=2, **SMALL, **kind), 300)
        for secret in ("", SECRET)
    )
    assert before["counter"] > 0.35 and before["guesser"] == pytest.approx(0.13, abs=0.02)
    assert now["guesser"] == pytest.approx(0.13, abs=0.02)
    assert now["counter"] == pytest.approx(now["guesser"], abs=0.02)


def test_nothing_outside_of_the_pixels_tells():
    study, rng = unseen_study(secret=SECRET, epochs=(1,), **SMALL), np.random.default_rng(0)
    domains = {"fake": Drawn(1, 3), "real": Drawn(2, 9)}
    files = {s.sha256: mark_png(encode_png(domains[s.kind].load(n)), b"key") for n, s in enumerate(study.stimuli)
             if s.kind in domains}  # fmt: skip
    right = {}
    for name, change in (("before", as_before), ("now", bytes)):
        numbers = {sha256: outside(change(content)) for sha256, content in files.items()}
        trials = study.trials(0, 0)
        right[name] = answered([trials], by_files(numbers, [t for t in trials if t.phase == "practice"]), rng)
        assert len(set(numbers.values())) == 1 or name == "before"
    assert right["before"] > 0.7 and 0.25 < right["now"] < 0.75


def test_several_ids_need_the_score_or_epochs_that_share_their_real_pictures():
    """What invitations and logins are for: a person with many ids knows the sides, and needs one bit more."""
    one, three = (unseen_study(secret=SECRET, epochs=epochs, **SMALL) for epochs in ((1,), (1, 2, 3)))
    rng = np.random.default_rng(0)
    assert answered(*by_graph(one, 12, score=True), rng) > 0.95
    assert answered(*by_graph(three, 12, score=False), rng) > 0.95
    for study, ids in ((one, 1), (three, 1), (one, 12)):
        assert 0.42 < answered(*by_graph(study, ids, score=False), rng) < 0.58
