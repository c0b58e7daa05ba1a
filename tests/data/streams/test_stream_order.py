"""The order of a stream: endless, entered at any place, each picture once a pass."""

import itertools

import pytest

from cyclegan.data.streams.order import Order, Place
from cyclegan.data.streams.sources import Picture
from cyclegan.errors import DataError


class Numbers:
    """Shards of numbers, with a count of what was read."""

    identity = ""

    def __init__(self, *sizes):
        starts = [0, *itertools.accumulate(sizes)]
        self.numbers = [range(start, start + size) for start, size in zip(starts, sizes, strict=False)]
        self.shards, self.reads = len(sizes), 0

    def read(self, shard, start=None, part=(0, 1)):
        for at in range(start or 0, len(self.numbers[shard])):
            if at % part[1] == part[0]:
                self.reads += 1
                yield Picture("", str(self.numbers[shard][at])), at + 1


def order_of(source, *, buffer=4, part=(0, 1), seed=(0, 1, 0)):
    return Order(source, seed=seed, buffer=buffer, part=part, name="trainA")


START = Place()


def taken(order, count, place=START):
    """Numbers and the places after them."""
    found = list(itertools.islice(order.pictures(place), count))
    return [int(picture.content) for picture, _ in found], [place for _, place in found]


@pytest.mark.parametrize("buffer", [1, 4, 7, 100])
def test_every_pass_has_each_picture_once_in_an_order_of_its_own(buffer):
    numbers, _ = taken(order_of(Numbers(3, 5, 1, 6), buffer=buffer), 45)
    passes = [numbers[:15], numbers[15:30], numbers[30:]]
    assert all(sorted(each) == list(range(15)) for each in passes)
    assert len(set(map(tuple, passes))) == 3


@pytest.mark.parametrize("buffer", [1, 4, 5, 15, 100])
def test_it_continues_exactly_from_any_place(buffer):
    whole, places = taken(order_of(Numbers(3, 5, 1, 6), buffer=buffer), 60)
    for index, place in enumerate(places[:40]):
        assert taken(order_of(Numbers(3, 5, 1, 6), buffer=buffer), 20, place)[0] == whole[index + 1:index + 21], index


def test_a_place_is_entered_by_reading_its_block_alone():
    _, places = taken(order_of(Numbers(*[50] * 20), buffer=10), 777)
    source = Numbers(*[50] * 20)
    taken(order_of(source, buffer=10), 1, places[-1])
    assert source.reads <= 20


def test_pictures_are_held_for_one_block_and_no_more():
    source = Numbers(*[50] * 4)
    taken(order_of(source, buffer=30), 60)
    assert source.reads <= 60 + 30


def test_domains_seeds_and_beginnings_have_orders_of_their_own():
    orders = [taken(order_of(Numbers(*[5] * 8), seed=seed), 40)[0] for seed in ((0, 1, 0), (0, 1, 1), (1, 1, 0),
                                                                                 (0, 2, 0))]  # fmt: skip
    assert len(set(map(tuple, orders))) == 4


@pytest.mark.parametrize("sizes", [(5, 5, 5, 5), (4, 9, 7), (20,)])
def test_processes_share_a_pass(sizes):
    """By shards where they can be shared out, else every other picture."""
    total = sum(sizes)
    parts = [taken(order_of(Numbers(*sizes), part=(rank, 2)), 2 * total)[0] for rank in (0, 1)]
    firsts = []
    for part in parts:
        seen = part[: next(n for n in range(1, len(part)) if len(set(part[:n])) < n) - 1]
        firsts.append(set(seen))
    assert firsts[0] | firsts[1] == set(range(total))
    if len(sizes) % 2:
        assert not firsts[0] & firsts[1]


def test_parts_continue_exactly_too():
    for sizes in ((5, 5, 5, 5), (4, 9, 7)):
        whole, places = taken(order_of(Numbers(*sizes), part=(1, 2)), 40)
        for index in range(25):
            found, _ = taken(order_of(Numbers(*sizes), part=(1, 2)), 10, places[index])
            assert found == whole[index + 1:index + 11]


def test_a_process_without_pictures_gets_a_sentence_instead_of_waiting_without_end():
    with pytest.raises(DataError, match="trainA has no pictures for process 3 of 3: add some, or use fewer"):
        taken(order_of(Numbers(2), part=(2, 3)), 1)
    with pytest.raises(DataError, match="trainA has no pictures"):
        taken(order_of(Numbers(0, 0)), 1)
