"""The order of pictures: what must hold whatever the workers, processes and restarts."""

import itertools

import numpy as np
import pytest

from cyclegan.data.order import domain_order, random_order, sample_rng, step_plans


def plans(lengths=(13, 5), epoch=1, seed=3, **options):
    return list(step_plans(seed, epoch, lengths, **{"paired": False, "batch_size": 1, **options}))


def pairs(steps):
    return [(p, a, b) for s in steps for p, a, b in zip(s.positions, s.indices_a, s.indices_b, strict=True)]


def test_the_longer_domain_is_covered_once_and_the_shorter_evenly():
    steps = plans((13, 5))
    assert sorted(s.indices_a[0] for s in steps) == list(range(13))
    counts = np.bincount([s.indices_b[0] for s in steps], minlength=5)
    assert counts.min() == 2 and counts.max() == 3
    assert sorted(s.indices_b[0] for s in steps[:5]) == list(range(5)), "a round shows each picture once"


def test_epochs_seeds_and_domains_have_orders_of_their_own():
    orders = [tuple(domain_order(s, e, d, 50, 50)) for s in (0, 1, 2**40) for e in (0, 1, 2) for d in (0, 1)]
    assert len(set(orders)) == len(orders)


def test_b_is_independent_of_a():
    met = {(a, b) for epoch in range(40) for _, a, b in pairs(plans((6, 6), epoch))}
    assert len(met) == 36, "in 40 epochs every a meets every b"


def test_pairs_share_their_order():
    assert all(a == b for _, a, b in pairs(plans((9, 9), paired=True)))


@pytest.mark.parametrize("batch_size", [1, 2])
def test_two_processes_see_together_what_one_sees_with_twice_the_batch(batch_size):
    one = plans(batch_size=2 * batch_size)
    two = [plans(batch_size=batch_size, process_index=rank, num_processes=2) for rank in (0, 1)]
    assert len(one) == len(two[0]) == len(two[1]) == 13 // (2 * batch_size)
    for whole, first, second in zip(one, *two, strict=True):
        assert pairs([whole]) == pairs([first, second])


def test_start_step_skips():
    assert plans(start_step=4, batch_size=2) == plans(batch_size=2)[4:]
    assert plans(start_step=13) == []


def test_chance_depends_on_every_coordinate():
    drawn = {tuple(sample_rng(*at).random(2)) for at in itertools.product((0, 1), repeat=4)}
    assert len(drawn) == 16
    assert sample_rng(1, 2, 3, 1).random() == sample_rng(1, 2, 3, 1).random()


def test_random_order_is_the_references():
    a, b = random_order(0, 1, (50, 30))
    assert sorted(a) == list(range(50)), "each of the longer domain once"
    assert len(b) == 50 and set(b) < set(range(30)), "drawn with replacement: some of B are not seen"
    a, b = random_order(0, 1, (30, 50))
    assert np.bincount(a).tolist() == [2] * 20 + [1] * 10, "the shorter A goes round"
    assert 20 < len(set(b)) < 45, "and B is drawn all the same"


def test_random_order_depends_on_seed_and_epoch_alone():
    orders = [np.concatenate(random_order(seed, epoch, (50, 50))).tolist() for seed in (0, 1) for epoch in (1, 2)]
    assert len({tuple(order) for order in orders}) == 4
    assert np.concatenate(random_order(0, 1, (50, 50))).tolist() == orders[0]
    met = {(a, b) for epoch in range(60) for a, b in zip(*random_order(0, epoch, (6, 6)), strict=True)}
    assert len(met) == 36, "b is independent of a"


def test_steps_follow_the_order_that_is_asked_for():
    a, b = random_order(3, 1, (13, 5))
    assert [(s.indices_a[0], s.indices_b[0]) for s in plans(random=True)] == list(zip(a, b, strict=True))
    assert plans((9, 9), paired=True, random=True) == plans((9, 9), paired=True)
