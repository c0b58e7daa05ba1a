"""`evaluate`: what it writes, what it doesn't measure twice, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import DataConfig
from cyclegan.data import find_data
from cyclegan.data.fingerprints import fingerprints
from cyclegan.data.streets import PALETTE
from cyclegan.errors import UserError
from cyclegan.evaluation.scores import evaluate as module
from cyclegan.evaluation.scores.answers import Answer
from cyclegan.evaluation.scores.describe import Describer
from cyclegan.evaluation.scores.evaluate import evaluate
from cyclegan.evaluation.scores.exchange import joined, read_checked, without_paths
from cyclegan.evaluation.scores.kinds import Result
from cyclegan.evaluation.scores.recommend import verdicts
from cyclegan.evaluation.scores.report import Report, ScoresError, read_report, writing
from cyclegan.evaluation.scores.sets import TestSet
from cyclegan.evaluation.scores.tables import csv_text, markdown, text
from cyclegan.evaluation.segmenter import Segmenter, load_segmenter, save_segmenter
from cyclegan.networks.segmenter import build_segmenter
from tests.blocks import CLASSES, write_blocks
from tests.ui.conftest import write_epoch

DATA = "streets:count=8,test_count=6,size=32"


@pytest.fixture(autouse=True)
def few_pictures_are_enough(monkeypatch):
    monkeypatch.setattr("cyclegan.evaluation.scores.evaluate.FEWEST", 1)


@pytest.fixture
def run(tmp_path):
    for epoch in (1, 2):
        write_epoch(tmp_path / "mine", epoch)
    return tmp_path / "mine"


@pytest.fixture
def translations(monkeypatch):
    """Count the pictures that are translated."""
    made = []
    plain = module.translate_all

    def counted(translator, pictures, direction):
        made.append((translator.checkpoint.info.epoch, direction, len(pictures)))
        return plain(translator, pictures, direction)

    monkeypatch.setattr(module, "translate_all", counted)
    return made


def test_runs_of_two_sizes_are_measured_at_one(run, tmp_path):
    report = evaluate(LocalSource(run), DATA, scores=("pairs",), directions=("ab",), size=64)
    assert report.path.name == "test-64.json" and report.content["ab"]["measured_on"]["crop_size"] == 64
    own = evaluate(LocalSource(run), DATA, scores=("pairs",), directions=("ab",), size=32)
    assert own.path.name == "test.json" and own.content["ab"]["measured_on"]["crop_size"] == 32
    one, other = (each.content["ab"]["scores"]["epoch-0002"]["pairs"] for each in (report, own))
    assert one != other
    config = DataConfig(dataset=DATA, preprocess="none")
    with pytest.raises(UserError, match="takes pictures at their own size"):
        evaluate(LocalSource(run), config, scores=("pairs",), size=64)


def test_the_file_holds_scores_baselines_and_ceilings(run):
    seen = []
    report = evaluate(LocalSource(run), DATA, epochs="all", scores=("kid", "pairs", "reconstruction", "collapse"),
                      progress=lambda *at: seen.append(at))  # fmt: skip
    content = json.loads((run / "scores" / "test.json").read_text())
    assert content == report.content and content["names"] == {"a": "day", "b": "night"}
    for way in ("ab", "ba"):
        facts = content[way]["measured_on"]
        assert (facts["pictures"], facts["references"], facts["split"]) == (6, 6, "test")
        assert list(content[way]["scores"]) == ["epoch-0001", "epoch-0002"]
        assert list(content[way]["baselines"]) == ["untranslated", "one_colour", "blind", "another"]
        assert list(content[way]["ceilings"]) == ["real", "truth"]
        scores = content[way]["scores"]["epoch-0002"]
        assert scores["kid"]["kid"].keys() == {"value", "low", "high"}
        assert scores["reconstruction"]["rec_l1"]["value"] > 0 and scores["pairs"]["pairs_l1"]["value"] > 0
        assert "reconstruction" not in content[way]["baselines"]["untranslated"]
        assert content[way]["baselines"]["untranslated"]["collapse"]["follows_input"]["value"] == pytest.approx(1)
    what, done, totals = zip(*seen, strict=True)
    assert what[:2] == ("ab untranslated (1 of 16)",) * 2 and what[-1] == "ba epoch-0002 (16 of 16)"
    assert done[:2] == (0, 6) and list(done) == sorted(done) and done[-1] == totals[-1] and len(set(totals)) == 1


def test_what_is_there_is_not_measured_again(run, translations):
    evaluate(LocalSource(run), DATA, epochs=[1], scores=["kid"], directions=["ab"])
    assert translations == [(1, "ab", 6)]
    seen = []
    evaluate(LocalSource(run), DATA, epochs="all", scores=["kid"], directions=["ab"],
             progress=lambda *at: seen.append(at))  # fmt: skip
    assert translations[1:] == [(2, "ab", 6)]
    (what, done, total), *_, last = seen  # What is there counts from the start.
    assert what == "ab epoch-0002 (7 of 7)" and done == total - 6 and last == (what, total, total)
    evaluate(LocalSource(run), DATA, epochs="all", scores=["kid", "pairs"], directions=["ab"])
    assert translations[2:] == [(1, "ab", 6), (2, "ab", 6)]  # The new score alone.
    shutil.rmtree(run / "epoch-0002")
    write_epoch(run, 2, domains=("day", "dusk"))  # Other files under the same number.
    evaluate(LocalSource(run), DATA, epochs="all", scores=["kid"], directions=["ab"])
    assert translations[4:] == [(2, "ab", 6)]


def test_where_nothing_is_missing_nothing_is_loaded_and_the_epochs_are_listed_once(run, translations, monkeypatch):
    options = {"scores": ["kid", "pairs"], "directions": ["ab"]}
    first = evaluate(LocalSource(run), DATA, **options)
    translations.clear()

    def never(*_, **__):
        raise AssertionError("it isn't needed")

    for owner, name in ((TestSet, "prior"), (TestSet, "usual"), (TestSet, "colour"), (Describer, "network")):
        monkeypatch.setattr(owner, name, property(never))
    source = LocalSource(run)
    listed, plain = [], source.list
    monkeypatch.setattr(source, "list", lambda: listed.append(1) or plain())
    assert evaluate(source, DATA, **options).content == first.content and not translations and len(listed) == 1
    with pytest.raises(UserError, match="another dataset"):
        evaluate(source, DATA.replace("6", "7"), **options)


def test_references_are_measured_once_for_all_runs(run, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "second")
    evaluator = module.Evaluator(DataConfig(DATA, crop_size=32, load_size=32), scores=["kid"])
    first, seen = evaluator.score(LocalSource(run), directions=["ab"]), []
    second = evaluator.score(LocalSource(tmp_path / "second"), directions=["ab"], progress=lambda *at: seen.append(at))
    assert {what for what, _, _ in seen} == {"ab epoch-0002 (6 of 6)"}
    for section in ("baselines", "ceilings"):
        assert second.content["ab"][section] == first.content["ab"][section] != {}


def test_the_device_is_chosen_as_for_translations(monkeypatch):
    monkeypatch.setattr(module, "default_device", lambda: "meta")
    config = DataConfig(DATA, crop_size=32, load_size=32)
    assert module.Evaluator(config, scores=["kid"]).describer.device.type == "meta"
    assert module.Evaluator(config, scores=["kid"], device="cpu").describer.device.type == "cpu"


def test_a_named_score_must_be_measurable_in_some_direction(run):
    of_labels = DATA + ",a=labels,b=day"
    report = evaluate(LocalSource(run), of_labels, scores=["labels"])
    assert [way for way in ("ab", "ba") if report.section(way, "baselines")] == ["ba"]
    with pytest.raises(UserError, match="ab, labels: the target isn't label maps"):
        evaluate(LocalSource(run), of_labels, scores=["kid", "labels"], directions=["ab"])


def test_a_segmenter_that_is_missing_is_told(run, tmp_path):
    with pytest.raises(UserError, match="holds no segmenter"):
        evaluate(LocalSource(run), DATA + ",a=labels,b=day", segmenter=tmp_path / "none", name="other")


def test_a_run_that_was_stopped_keeps_what_was_measured(run, monkeypatch):
    plain = module.translate_all

    def stopped(translator, pictures, direction):
        if translator.checkpoint.info.epoch == 2:
            raise KeyboardInterrupt
        return plain(translator, pictures, direction)

    monkeypatch.setattr(module, "translate_all", stopped)
    with pytest.raises(KeyboardInterrupt):
        evaluate(LocalSource(run), DATA, epochs="all", scores=["kid"], directions=["ab"])
    report = read_report(run / "scores", "test", "mine")
    assert report.value("ab", "scores", "epoch-0001", "kid", "kid") and report.value(
        "ab", "baselines", "one_colour", "kid", "kid"
    )


@pytest.mark.parametrize("options, said", [
    ({"dataset": "streets:count=8,test_count=7,size=32"}, "test.json was measured with another dataset"),
    ({"pictures": 3}, "another pictures"),
    ({"features": "dinov2"}, "another features"),
])  # fmt: skip
def test_figures_of_other_pictures_are_never_mixed(run, options, said, monkeypatch):
    monkeypatch.setattr(module, "Describer", lambda name, **kw: _named(name))
    evaluate(LocalSource(run), DATA, scores=["kid"], directions=["ab"])
    with pytest.raises(UserError, match=said):
        evaluate(LocalSource(run), **{"dataset": DATA, "scores": ["kid"], "directions": ["ab"], **options})
    evaluate(LocalSource(run), **{"dataset": DATA, "scores": ["kid"], "directions": ["ab"], "name": "b", **options})


@pytest.mark.parametrize("key, what", [
    ("fingerprint", "the test pictures"), ("labels", "the labels of the test pictures"),
    ("truths", "the true pictures"), ("segmenter_weights", "the weights of the segmenter"),
])  # fmt: skip
def test_changed_files_are_named_without_their_fingerprints(tmp_path, key, what):
    report = read_report(tmp_path, "test", "mine")
    report.measure_on("ab", {key: "9d4a"}, ("day", "night"))
    with pytest.raises(UserError) as raised:
        report.measure_on("ab", {key: "dbbc"}, ("day", "night"))
    assert str(raised.value).startswith(f"{what} have changed since {tmp_path / 'test.json'} was written")
    assert "choose another --name" in str(raised.value).lower() and "9d4a" not in str(raised.value)


def test_content_of_an_earlier_version_is_measured_again(tmp_path):
    """It was a mean over pictures, which doesn't compare with a share of all cases."""
    report = read_report(tmp_path, "test", "mine")
    report.measure_on("ab", {}, ("day", "night"))
    old = {"content_kept": {"value": 0.5}, "details": {"classes": {}}}
    report.content["ab"]["scores"]["epoch-0001"] = {"commit_sha": "", "epoch": 1, "content": old}
    answer = Answer("epoch-0001", "scores", 6, lambda indices: None)
    assert not report.has("ab", answer, "content")
    assert report.value("ab", "scores", "epoch-0001", "content", "content_kept") == {"value": 0.5}  # It is readable.
    report.add("ab", answer, "content", Result({}, {"cases": {}}))
    assert report.has("ab", answer, "content")


def _named(name):
    found = Describer("pixels")
    found.name = name
    return found


@pytest.mark.parametrize("options, said", [
    ({"scores": ["fvd"]}, "'fvd' isn't a score: choose from kid, fid"),
    ({"epochs": [7]}, "mine has no epoch 7; it has 1, 2"),
    ({"name": "../x"}, "isn't a name for a file of scores"),
    ({"scores": ["labels"]}, "the target isn't label maps"),
    ({"dataset": "streets:count=8,test_count=1,size=32"}, "fewer than two pictures"),
    ({"dataset": "no/where"}, "no/where"),
])  # fmt: skip
def test_what_cannot_be_measured_is_told(run, options, said):
    with pytest.raises(UserError, match=said):
        evaluate(LocalSource(run), **{"dataset": DATA, "directions": ["ab"], **options})


@pytest.mark.parametrize("content", [
    "{", "[]", '{"version": 9}', '{"version": 1}', '{"version": 1, "name": "test", "ab": 5}',
])  # fmt: skip
def test_a_broken_file_of_scores_is_told(run, content):
    (run / "scores").mkdir()
    (run / "scores" / "test.json").write_text(content)
    with pytest.raises(UserError, match="test.json"):
        evaluate(LocalSource(run), DATA, scores=["kid"])


def test_what_the_data_lack_is_noted_once_for_both_directions(run):
    notes = []
    report = evaluate(LocalSource(run), DATA, note=lambda each: notes.append(str(each)))
    assert sorted(notes) == [
        "labels: the target isn't label maps of known classes",
        "the segmenter was trained at 128 pixels, and pictures of 32 are scored: the ceilings show how well it reads "
        "them; one that is trained at their size reads better",
    ]
    assert "kid" in report.section("ab", "scores")["epoch-0002"]


def test_a_judge_that_the_training_read_with_is_noted(run):
    weights = load_segmenter(None, PALETTE).fingerprint
    for epoch, known in ((1, "1234"), (2, weights)):
        path = run / f"epoch-{epoch:04d}" / "checkpoint.json"
        record = json.loads(path.read_text()) | {"semantic_segmenter": {"name": "", "weights": known}}
        path.write_text(json.dumps(record))
    for epochs, count in ((1, 0), (2, 1)):
        notes = []
        evaluate(LocalSource(run), DATA, epochs=[epochs], scores=["segmentation", "kid"],
                 note=lambda each, notes=notes: notes.append(str(each)))  # fmt: skip
        assert len(notes) == count + 1  # And that it was trained at another size.
    judges = "warning: segmentation: the segmenter that judges is the one that --lambda_semantic"
    assert any(note.startswith(judges) for note in notes)


def test_too_few_pictures_are_said_before_they_are_measured(run, monkeypatch):
    monkeypatch.setattr("cyclegan.evaluation.scores.evaluate.FEWEST", 8)
    evaluator = module.Evaluator(DataConfig(dataset="streets:count=8,test_count=7,size=32"), scores=["kid"])
    assert list(map(str, evaluator.notes(["ab"]))) == [
        "7 test pictures are too few to tell epochs apart: 50 or more are wanted"
    ]


def test_without_test_pictures_the_training_pictures_are_scored(run):
    notes = []
    report = evaluate(LocalSource(run), "streets:count=8,test_count=0,size=32", scores=["kid"], note=notes.append)
    assert report.content["ab"]["measured_on"]["split"] == "train"
    (note,) = map(str, notes)
    assert "has no test pictures, so training pictures are scored" in note
    # Nobody takes them for others: their file has another name, and each of its tables says so.
    assert report.path.name == "train.json" and "training pictures of streets" in text(report)
    assert str(verdicts(report, "ab")[0][0]).startswith("These are training pictures")
    assert "These are training pictures" in markdown(report)
    assert evaluate(LocalSource(run), DATA, scores=["kid"]).path.name == "test.json"


@pytest.fixture
def folders(tmp_path):
    """A data set in folders, with a picture that can't be read."""
    for split in ("trainA", "trainB", "testA", "testB"):
        (tmp_path / "data" / "pictures" / split).mkdir(parents=True)
        for index in range(3):
            shade = Image.new("RGB", (32, 32), (80 * index, 40, 90))
            shade.save(tmp_path / "data" / "pictures" / split / f"{index}.png")
    (tmp_path / "data" / "pictures" / "testA" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "data" / "pictures"


def test_a_data_set_of_other_domains_is_noted(folders, run):
    folders.joinpath("testA", "broken.png").unlink()
    for side, name in (("A", "drawn"), ("B", "satellite")):
        for split in ("train", "test"):
            (folders / split).mkdir(exist_ok=True)
            (folders / f"{split}{side}").rename(folders / split / name)
    notes = []
    evaluate(LocalSource(run), str(folders), scores=["collapse"], note=lambda said: notes.append(str(said)))
    assert [said for said in notes if "pictures has drawn and satellite, but the run translates between day" in said]


def test_the_data_set_that_the_run_was_trained_on_is_found(folders, tmp_path):
    write_epoch(tmp_path / "mine", 1, dataset="pictures", skip_bad_images=True)
    typed, notes = {"config": {"data": {"dataset": str(folders)}}}, []
    with pytest.raises(UserError, match="pictures, the data set that mine was trained on, isn't there: .*--dataset"):
        evaluate(LocalSource(tmp_path / "mine"), scores=["kid"])
    (tmp_path / "mine" / "run.json").write_text(json.dumps(typed))
    report = evaluate(LocalSource(tmp_path / "mine"), scores=["kid"], note=notes.append)
    assert report.content["ab"]["measured_on"]["dataset"] == "pictures"  # And not where it is.
    assert report.content["ab"]["measured_on"]["pictures"] == 3
    assert list(map(str, notes)) == ["left out: 1 picture that can't be read, such as broken.png"]
    with pytest.raises(UserError, match="broken.png"):
        evaluate(LocalSource(tmp_path / "mine"), scores=["kid"], skip_bad_images=False, name="other")


def test_test_pictures_that_the_run_was_trained_on_are_said_with_the_figures(folders, tmp_path):
    """As after a training whose pictures were moved into the test split; here each is in both domains."""
    write_epoch(tmp_path / "mine", 1)
    (folders / "testA" / "broken.png").unlink()
    found = fingerprints(find_data(DataConfig(dataset=str(folders))), ["test"])
    (tmp_path / "mine" / "pictures.json").write_text(json.dumps({"train_a": found["test_a"][:2], "train_b": []}))
    for name, count in (("test", 2), ("later", 0)):
        notes = []
        evaluate(LocalSource(tmp_path / "mine"), str(folders), scores=["kid"], name=name, note=notes.append)
        report = read_checked(tmp_path / "mine" / "scores" / f"{name}.json")
        for part in report, Report(report.path, joined(report.content, without_paths(report.content))):
            said = [str(sentence) for paragraph in verdicts(part, "ab") for sentence in paragraph]
            assert ("Test pictures that the run was trained on: 4 of 6." in said[0]) == bool(count)
            assert ("trained on: 4 of 6" in markdown(part)) == bool(count)
        assert any("also training pictures: 4 of 6, such as 0.png" in str(note) for note in notes) == bool(count)
        (tmp_path / "mine" / "pictures.json").write_text("{}")
    (tmp_path / "mine" / "scores" / "test.json").write_text(
        json.dumps(report.content | {"ab": report.content["ab"] | {"trained_on": {"count": "2", "of": 6}}})
    )
    with pytest.raises(ScoresError):
        read_checked(tmp_path / "mine" / "scores" / "test.json")


def test_training_pictures_that_no_score_uses_are_not_looked_at(folders, monkeypatch):
    monkeypatch.setattr(module, "MOST_TRAINED", 2)
    kept, left_out = module.without_bad(module.find_data(DataConfig(str(folders))))
    assert (len(kept.train_a), len(kept.train_b), len(kept.test_a), len(kept.test_b)) == (2, 2, 3, 3)
    assert left_out == ["broken.png"]


def test_imported_weights_do_not_know_their_data_set(tmp_path):
    write_epoch(tmp_path / "mine", 1, dataset="unknown")
    with pytest.raises(UserError, match="mine doesn't say which data set it was trained on: name one with --dataset"):
        evaluate(LocalSource(tmp_path / "mine"), scores=["kid"])


def test_tables(run):
    report = evaluate(LocalSource(run), DATA, scores=("kid", "pairs"), directions=["ab"])
    for table in (text(report), markdown(report)):
        assert "day → night" in table and "6 test pictures of streets" in table and "(lite0)" in table
        for row in ("the input, untranslated", "one colour", "blind", "another real picture", "epoch 2",
                    "real pictures", "the true pictures"):  # fmt: skip
            assert row in table
    lines = csv_text(report).splitlines()
    assert lines[0] == "direction,section,answer,epoch,score,figure,value,low,high,kind"
    assert any(line.startswith("ab,scores,epoch-0002,2,pairs,pairs_l1,") for line in lines)


def change_labels(data):
    for path in (data / "labels" / "testA").iterdir():
        labels = np.asarray(Image.open(path))
        Image.fromarray(np.where(labels < 2, 1 - labels, labels)).save(path)


@pytest.fixture
def judge(tmp_path):
    """Write an untrained segmenter of the blocks' classes from a seed; return its folder."""
    def write(seed):
        torch.manual_seed(seed)
        network = build_segmenter("unet", CLASSES.count).eval()
        save_segmenter(Segmenter(CLASSES, 16, network, {"network": "unet", "seed": 0}), tmp_path / "judge")
        return tmp_path / "judge"

    return write


WARNING = (
    "the segmenter was trained at 16 pixels, and pictures of 32 are scored: the ceilings show how well it reads them; "
    "one that is trained at their size reads better"
)


def test_figures_by_other_labels_and_by_another_segmenter_are_never_mixed(run, tmp_path, judge):
    """Neither is seen in the pictures: a label map may be corrected, and a segmenter trained for longer."""
    data = write_blocks(tmp_path / "data", train=3, test=3)
    wanted = {"dataset": str(data), "scores": ["segmentation"], "directions": ["ab"], "segmenter": judge(0)}
    notes = []
    evaluate(LocalSource(run), epochs=[1], **wanted, note=notes.append)
    assert [str(note) for note in notes if "was trained at" in str(note)] == [WARNING]
    judge(1)
    with pytest.raises(UserError, match="the weights of the segmenter have changed"):
        evaluate(LocalSource(run), epochs=[2], **wanted)
    judge(0)
    evaluate(LocalSource(run), epochs=[2], **wanted)
    change_labels(data)
    with pytest.raises(UserError, match="the labels of the test pictures have changed"):
        evaluate(LocalSource(run), epochs="all", **wanted)


def test_figures_against_other_true_pictures_are_never_mixed(run):
    config = DataConfig(DATA, crop_size=32, load_size=32)
    evaluator = module.Evaluator(config, scores=["pairs"])
    evaluator.score(LocalSource(run), directions=["ab"])
    known = evaluator.facts("ab")
    assert known["truths"] and known["labels"] is None  # Of labels, this score knows nothing.
    other = module.Evaluator(config, scores=["pairs"])
    other.test("ab").__dict__["truths_fingerprint"] = "0" * 16
    with pytest.raises(UserError, match="the true pictures have changed"):
        other.score(LocalSource(run), directions=["ab"])


def test_without_test_pictures_no_reference_is_the_answer_itself(run, tmp_path):
    """In pairs, the training picture of an input's own number is the truth; and real ones equal themselves."""
    data = tmp_path / "pairs" / "train"
    data.mkdir(parents=True)
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 64, 3), np.uint8)
        Image.fromarray(pixels).save(data / f"{index}.png")
    report = evaluate(LocalSource(run), str(data.parent), scores=["pairs", "collapse"], directions=["ab"])
    assert report.value("ab", "baselines", "another", "pairs", "pairs_l1")["value"] > 50
    assert list(report.section("ab", "ceilings")) == ["truth"]


@pytest.mark.parametrize("pictures", [1, 0])
def test_one_picture_is_too_few(run, pictures):
    with pytest.raises(UserError, match="at least two pictures: raise --pictures"):
        evaluate(LocalSource(run), DATA, scores=["kid"], pictures=pictures)


def test_a_name_that_no_file_can_have_is_refused(run):
    with pytest.raises(UserError, match="at most 100 letters"):
        evaluate(LocalSource(run), DATA, scores=["kid"], name="x" * 300)


def test_two_at_once_are_refused_and_a_folder_that_cannot_be_written_still_shows(run, monkeypatch):
    options = {"dataset": DATA, "scores": ["kid"], "directions": ["ab"]}
    with writing(run / "scores", "test"):
        with pytest.raises(UserError, match="another process is measuring scores into .*test.json: wait for it"):
            evaluate(LocalSource(run), **options)
        evaluate(LocalSource(run), **options, name="other")
    evaluate(LocalSource(run), **options)
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert evaluate(LocalSource(run), **options).section("ab", "scores")["epoch-0002"]["kid"]


def refuse(*_, **__):
    raise PermissionError(13, "Permission denied")


def test_features_that_a_power_cut_emptied_are_computed_again(kept_features, run):
    first = evaluate(LocalSource(run), DATA, scores=["kid"], directions=["ab"])
    for path in kept_features.iterdir():
        path.write_bytes(b"")
    again = evaluate(LocalSource(run), DATA, scores=["kid"], directions=["ab"], name="again")
    assert again.section("ab", "scores") == first.section("ab", "scores")


def test_a_direction_that_the_run_does_not_have_is_told(tmp_path, make_checkpoint):
    """Else the table would hold baselines alone, as if the run had been measured."""
    make_checkpoint(tmp_path / "one", 1, directions=("ab",))
    with pytest.raises(UserError, match="one doesn't translate ba, only ab"):
        evaluate(LocalSource(tmp_path / "one"), DATA, scores=["kid"], directions=["ba"])


def test_some_pictures_are_spread_over_all_with_their_own_truth_and_labels(tmp_path):
    """The first ones of a folder are often of one film."""
    config = DataConfig(str(write_blocks(tmp_path / "data", train=3, test=7)), crop_size=32, load_size=32)
    some, whole = (module.Evaluator(config, scores=["collapse"], pictures=n).test("ab") for n in (3, None))
    for index, number in enumerate((0, 3, 6)):
        assert some.inputs[index].tobytes() == whole.inputs[number].tobytes()
        assert some.references[index].tobytes() == whole.references[number].tobytes()
        assert np.array_equal(some.labels(index), whole.labels(number))
        assert np.array_equal(some.reference_labels(index), whole.reference_labels(number))
