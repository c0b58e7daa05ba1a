"""Every score in a case in which it must be bad, next to one in which it must be good."""

import numpy as np
import pytest
from PIL import Image

from cyclegan.data.labels import Classes
from cyclegan.evaluation.scores import labelled
from cyclegan.evaluation.scores.answers import Batch, references
from cyclegan.evaluation.scores.kinds import Collapse, Fid, Kid, Pairs, Reconstruction
from cyclegan.evaluation.scores.labelled import Content, Labels, Segmentation


def all_of(test):
    return range(len(test.inputs))


def figures(score, test, fakes, **options):
    """The figures of an answer: one picture per input."""
    batch = Batch(test, all_of(test), fakes, **options)
    batch.with_maps = score.maps
    return {key: value.value for key, value in score.figures(score.measure(batch), test).values.items()}


def of(test, name):
    """The pictures of a baseline or ceiling."""
    return next(a for a in references(test) if a.name == name and a.answers_inputs).make(all_of(test)).fakes


def truths(test):
    return [test.truth(index) for index in all_of(test)]


def grey(test):
    return [Image.new("RGB", picture.size, (128, 128, 128)) for picture in test.inputs]


@pytest.mark.parametrize("score, key", [(Kid, "kid"), (Fid, "fid")])
def test_blank_pictures_and_copies_of_the_input_are_far_from_real_ones(night, score, key):
    real = figures(score(), night, truths(night))[key]
    copies, blank = (figures(score(), night, fakes)[key] for fakes in (list(night.inputs), grey(night)))
    assert copies > 5 * abs(real) and blank > 5 * abs(real)


def test_pairs_know_the_truth_from_copies_and_from_other_scenes(night):
    true, copies = figures(Pairs(), night, truths(night)), figures(Pairs(), night, list(night.inputs))
    other = figures(Pairs(), night, truths(night)[1:] + truths(night)[:1])
    assert true["pairs_l1"] == true["pairs_rmse"] == 0 and true["pairs_features"] == pytest.approx(0, abs=1e-4)
    assert true["pairs_within_5"] == true["pairs_ssim"] == true["pairs_colours_iou"] == 1 and true["pairs_psnr"] == 99
    for bad in (copies, other):
        assert bad["pairs_l1"] > 10 and bad["pairs_psnr"] < 25 and bad["pairs_ssim"] < 0.8
        assert bad["pairs_features"] > 0.05 and bad["pairs_within_10"] < 0.8 and bad["pairs_colours_iou"] < 0.7
        assert bad["pairs_rmse"] > bad["pairs_l1"] and bad["pairs_within_5"] <= bad["pairs_within_10"]


def test_the_published_figures_on_maps():
    """RMSE sums the channels, and a pixel is within δ if its largest difference is less than δ."""
    fake, truth = Image.new("RGB", (32, 32), (10, 20, 30)), Image.new("RGB", (32, 32), (15, 20, 26))
    score = Pairs()
    score._colours = np.array([[0.0, 0, 0], [255, 255, 255], [0, 0, 255], [255, 0, 0], [0, 255, 0], [128, 128, 128]])
    row = score._of_one(0, fake, truth, None)
    assert row["rmse"] == pytest.approx(np.sqrt(5**2 + 4**2)) and (row["within_5"], row["within_10"]) == (0, 1)


def test_a_way_back_that_lives_on_hidden_noise(night):
    """A generator that hides its input in the lowest bit brings it back, unless that bit is disturbed."""
    inputs = list(night.inputs)

    def hidden(pictures):
        """Each picture names its scene by the parity of its first pixels."""
        found = []
        for picture in pictures:
            bits = np.asarray(picture)[0, :6, 0] % 2
            found.append(inputs[min(int((bits * 2 ** np.arange(6)).sum()), 59)])
        return found

    def marked(index):
        array = np.full((32, 32, 3), 128, np.uint8)
        array[0, :6, 0] += (index >> np.arange(6)).astype(np.uint8) % 2
        return Image.fromarray(array)

    found = figures(Reconstruction(), night, [marked(index) for index in all_of(night)], back=hidden)
    assert found["rec_l1"] == 0 and found["rec_ssim"] == 1 and found["rec_features"] == pytest.approx(0, abs=1e-4)
    assert found["rec_noise_l1"] > 5 and found["rec_jpeg_l1"] > 5
    honest = figures(Reconstruction(), night, list(night.inputs), back=list)
    assert honest["rec_noise_l1"] < 1 and honest["rec_psnr"] == 99


def test_collapse(night):
    real, same = figures(Collapse(), night, truths(night)), figures(Collapse(), night, [night.truth(0)] * 60)
    assert 0.8 < real["spread_of_targets"] < 1.25 and real["ndb"] < 0.3
    assert same["spread_of_targets"] == same["spread_of_inputs"] == same["follows_input"] == 0 and same["ndb"] > 0.5
    ignored = figures(Collapse(), night, truths(night)[7:] + truths(night)[:7])
    copies = figures(Collapse(), night, list(night.inputs))
    assert copies["follows_input"] == pytest.approx(1) and copies["spread_of_inputs"] == pytest.approx(1)
    assert abs(ignored["follows_input"]) < 0.3 < real["follows_input"] + 0.3


def test_whether_two_pictures_follow_their_inputs_is_not_known(night):
    """They have one distance."""
    score = Collapse()
    rows = score.measure(Batch(night, all_of(night), truths(night)))
    two = score.figures({name: values[:2] for name, values in rows.items()}, night).values
    assert "follows_input" not in two and "spread_of_inputs" in two


class ByBrightness:
    """A stand-in for a segmenter that reads the true picture of a scene, and calls all else the first class."""

    about = {}
    side = 32

    def __init__(self, test):
        self.known = {test.truth(index).tobytes(): test.labels(index) for index in all_of(test)}

    def predict(self, pictures):
        return [self.known.get(picture.tobytes(), np.zeros((32, 32), np.uint8)) for picture in pictures]


@pytest.mark.parametrize("kind", [Segmentation, Content])
def test_a_segmenter_reads_the_true_pictures_and_no_others(night, kind, monkeypatch):
    monkeypatch.setattr(labelled, "FEWEST_CASES", 1)  # Few streets lack a class.
    score = kind()
    score.segmenter = ByBrightness(night)
    true, blank = figures(score, night, truths(night)), figures(score, night, grey(night))
    swapped = figures(score, night, truths(night)[1:] + truths(night)[:1])
    if kind is Segmentation:
        assert true["seg_pixel"] == pytest.approx(1) and blank["seg_pixel"] < 0.6 and swapped["seg_pixel"] < 0.95
        assert blank["seg_iou"] < 0.15 and swapped["seg_iou"] < 0.7 < 0.85 < true["seg_iou"]
        assert blank["seg_class"] < 0.2
        prior = figures(score, night, grey(night), predicted=[night.prior] * 60)
        assert blank["seg_pixel"] < prior["seg_pixel"] < 1
    else:
        assert true["content_kept"] == pytest.approx(1) and true["content_invented"] == 0
        assert blank["content_kept"] < 0.4 and blank["content_invented"] == 0
        assert swapped["content_invented"] > 0.1 and swapped["content_kept"] < 1


def test_a_vanished_class_is_named(night):
    score = Content()
    score.segmenter = ByBrightness(night)
    car = night.classes.scored.index("car")
    for key, labels in score.segmenter.known.items():
        score.segmenter.known[key] = np.where(labels == car, night.classes.scored.index("road"), labels)
    batch = Batch(night, all_of(night), truths(night))
    cars = score.figures(score.measure(batch), night).details["classes"]["car"]
    assert cars["erased_in"] == cars["pictures_with_it"] > 10 and cars["pixels_of_answer"] == 0


def counted(night, kept, invented):
    """Return the result of `content` for pictures of two classes: some of the first is kept, the second is invented.

    Args:
        kept: for each picture that has the first class, whether it is still there.
        invented: for each picture without the second class, whether it is found.
    """
    count = night.classes.count
    matrices = np.zeros((len(kept) + len(invented), count, count), np.int64)
    matrices[:, 2:, 2:] += np.diag([1] * (count - 2))  # All other classes are in all pictures, and remain.
    for row, there in enumerate(kept):
        matrices[row, 0, 0 if there else 1], matrices[row, 1, 1] = 10, 1
    for row, there in enumerate(invented, len(kept)):
        matrices[row, 0, 1 if there else 0], matrices[row, 0, 0] = 10, 10
    return Content().figures({"matrices": matrices}, night)


def test_content_is_a_share_of_all_cases_not_a_mean_over_pictures(night):
    """With few classes per picture, a mean of the pictures' shares jumps between 0 and 1."""
    found = counted(night, [True] * 8, [True] + [False] * 11)
    invented = found.values["content_invented"]
    assert invented.value == pytest.approx(1 / 12) and 0 <= invented.low < invented.value < invented.high < 0.5
    assert found.details["cases"]["content_invented"] == [1, 12]


def test_few_cases_of_content_are_no_share(night):
    found = counted(night, [True] * 8, [True])
    assert "content_invented" not in found.values and found.details["cases"]["content_invented"] == [1, 1]
    assert found.details["classes"][night.classes.scored[1]]["invented_in"] == 1
    none = counted(night, [True] * 8, [False] * 12).values["content_invented"]
    assert (none.value, none.low) == (0, 0) and 0.2 < none.high < 0.3  # Twelve pictures don't exclude a fifth.


def test_label_maps(maps):
    true, inputs = figures(Labels(), maps, truths(maps)), figures(Labels(), maps, list(maps.inputs))
    assert true["labels_pixel"] == pytest.approx(1)
    classes = maps.classes
    swapped = [classes.picture((maps.labels(index) + 1) % classes.count) for index in all_of(maps)]
    assert figures(Labels(), maps, swapped)["labels_pixel"] == 0 and inputs["labels_pixel"] < 0.6
    blind = next(answer for answer in references(maps) if answer.name == "blind").make(all_of(maps))
    prior = figures(Labels(), maps, blind.fakes, predicted=blind.predicted)["labels_pixel"]
    assert inputs["labels_pixel"] < prior < 0.95


def test_a_void_colour_is_never_an_answer(maps):
    score, picture = Labels(), Image.new("RGB", (32, 32), (0, 0, 0))
    with pytest.MonkeyPatch.context() as patch:
        colors = ((90, 90, 90), (200, 200, 255), (0, 0, 0))
        patch.setattr(maps, "classes", Classes(("road", "sky", "void"), colors, (2,)))
        assert set(np.unique(score.predict(Batch(maps, [0], [picture])))) == {0}


def test_baselines_and_ceilings_are_what_they_say(night):
    by_name = {}
    for answer in references(night):
        by_name.setdefault(answer.name, []).append(answer)
    assert list(by_name) == ["untranslated", "one_colour", "blind", "another", "real", "truth"]
    assert of(night, "untranslated")[3] == night.inputs[3] and of(night, "truth")[3] == night.truth(3)
    colour = np.asarray(of(night, "one_colour")[0]).reshape(-1, 3)
    assert (colour == colour[0]).all()
    nights = np.stack([np.asarray(picture) for picture in night.trained])
    assert np.abs(np.median(nights, 0) - np.asarray(of(night, "blind")[0])).max() <= 1
    assert of(night, "another")[3] == night.trained[3]
    distribution, labelled = by_name["real"]
    assert distribution.make([2]).fakes == [night.trained[2]] and labelled.make([2]).fakes == [night.references[2]]
    assert (labelled.make([2]).labels[0] == night.reference_labels(2)).all()


def test_two_equal_translations_have_no_share_of_bins(night):
    """Of two pictures, the test would find one bin of ten to be off, as for a good answer."""
    fakes = [night.references[0]] * 2
    batch = Batch(night, range(2), fakes)
    found = Collapse().figures(Collapse().measure(batch), night).values
    assert "ndb" not in found and found["spread_of_targets"].value == 0
