"""From recordings to a corpus file: what is in it, what is missing, what is told of each clip."""

from __future__ import annotations

import csv
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

from clips_fuzz import mutated_list, mutated_recording
from damaged_clips import Sources, write_pair
from lightning.pytorch import Trainer
from media_toys import write_media, write_pictures

from mer_zoo import LFLSTM, MERDataModule, MERModule, load_pretrained, save_pretrained
from mer_zoo.cli import main
from mer_zoo.clips import Clip, Extraction, Settings, extract
from mer_zoo.clips.listing import list_clips
from mer_zoo.clips.media import Media
from mer_zoo.errors import MERError

SPLITS = ["train"] * 4 + ["valid"] * 2 + ["test"] * 2


def rows_of(file: Path) -> dict[str, dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return {row["id"]: row for row in csv.DictReader(opened)}


def load(file: Path) -> Any:
    return pickle.loads(file.read_bytes())


def table(folder: Path, *rows: str, name: str = "clips.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text("\n".join(rows), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Extraction]:
    """Eight clips and a table, one without pictures, one that is none, one that is not there."""
    folder = tmp_path_factory.mktemp("clips")
    lines = ["id,split,text,label,speaker"]
    for place, split in enumerate(SPLITS):
        name = f"c{place}.wav" if place == 2 else f"c{place}.mp4"
        write_media(folder / name, hertz=100 + 20 * place, brightness=None if place == 2 else 0.4)
        lines.append(f"c{place},{split},so this is {place},{place / 2 - 2},ann")
    (folder / "broken.mp4").write_bytes((folder / "c0.mp4").read_bytes()[:800])
    lines += ["broken,train,so,1,ann", "nowhere,train,so,1,ann"]
    table(folder, *lines, name="labels.csv")
    return folder.with_suffix(".pkl"), extract(folder, folder.with_suffix(".pkl"))


def test_every_clip_ends_as_one_of_three(corpus: tuple[Path, Extraction]) -> None:
    file, result = corpus
    assert str(result) == "7 extracted, 1 extracted with faults, 2 failed"
    assert result.exit_code == 3
    rows = rows_of(file.with_name(f"{file.stem}.faults.csv"))
    assert (rows["c2"]["outcome"], rows["c2"]["fault"]) == ("extracted with faults", "no pictures")
    assert rows["broken"]["place"] == "row 10"
    assert "no recording that can be read" in rows["broken"]["fault"]
    assert "there is no file" in rows["nowhere"]["fault"]
    assert not list(file.parent.glob("*.parts"))


def test_what_is_not_there_is_missing(corpus: tuple[Path, Extraction]) -> None:
    train = load(corpus[0])["train"]
    assert train["id"] == ["c0", "c1", "c2", "c3"]
    assert train["vision_lengths"].tolist()[2] == 0
    assert not train["vision"][2].any()
    assert train["audio_lengths"].min() >= 20
    assert train["raw_text"][1] == "so this is 1"
    assert train["text"].shape == (4, 4, 128)
    assert train["regression_labels"].tolist() == [-2, -1.5, -1, -0.5]
    assert train["speaker"] == ["ann"] * 4


def test_the_sound_is_that_of_the_clip(corpus: tuple[Path, Extraction]) -> None:
    """Tones of 100, 120, 140 and 160 Hz, as octaves above 100."""
    heard = np.median(load(corpus[0])["train"]["audio"][:, 2:18, 54], axis=1)
    assert heard == pytest.approx(np.log2([1, 1.2, 1.4, 1.6]), abs=0.03)


def test_the_pictures_are_those_of_the_clip(corpus: tuple[Path, Extraction]) -> None:
    """Grey that grows brighter, from a fifth to two fifths, five pictures a second."""
    seen = load(corpus[0])["train"]["vision"][0, :, :16].mean(1)
    assert seen == pytest.approx(0.4 * (0.5 + 0.05 * np.array([1, 3, 5, 7, 9])), abs=0.03)


def test_it_is_trained_on(corpus: tuple[Path, Extraction]) -> None:
    data = MERDataModule(str(corpus[0]), batch_size=4)
    assert (data.spec.text_dim, data.spec.audio_dim, data.spec.vision_dim) == (128, 56, 50)
    module = MERModule(LFLSTM(data.spec, data.task, dim=4))
    quiet: Any = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    Trainer(fast_dev_run=True, **quiet).fit(module, data)
    batch = next(iter(data.train_dataloader()))
    absent = ~batch.vision.mask.any(1)
    assert [name for name, gone in zip(batch.ids, absent, strict=True) if gone] == ["c2"]


def test_a_folder_alone_serves_predictions(tmp_path: Path) -> None:
    write_media(tmp_path / "你好.mp4")
    write_media(tmp_path / "silent.mp4", hertz=0.0)
    file = tmp_path / "features.pkl"
    assert extract(tmp_path, file, Settings(text="none")).exit_code == 0
    tree = load(file)
    assert list(tree) == ["test", "about"]
    assert tree["test"]["id"] == ["silent", "你好"]
    assert tree["test"]["audio_lengths"].tolist()[0] == 0
    assert rows_of(tmp_path / "features.faults.csv")["silent"]["fault"] == "nothing but silence"


def test_a_file_without_what_no_clip_has_tells_how_to_make_it_for_a_model(tmp_path: Path) -> None:
    write_media(tmp_path / "clips" / "a.wav", brightness=None)
    extract(tmp_path / "clips", tmp_path / "features.pkl", Settings(vision="none"))
    with pytest.raises(MERError, match="has no text features.*or make it by mer-zoo extract --like"):
        MERDataModule(str(tmp_path / "features.pkl")).setup("test")


def test_an_interval_is_cut_out(tmp_path: Path) -> None:
    write_media(tmp_path / "long.mp4", seconds=4.0)
    file = table(
        tmp_path,
        "path,start,end,id",
        "long.mp4,1.0,2.0,inside",
        "long.mp4,0:03,9,beyond",
        "long.mp4,7,8,behind",
        "long.mp4,2,1,turned",
    )
    extract(file, tmp_path / "features.pkl", Settings(text="none"))
    test = load(tmp_path / "features.pkl")["test"]
    assert test["id"] == ["inside", "beyond"]
    assert test["audio_lengths"].tolist() == pytest.approx([20, 20], abs=1)  # AAC goes on for a moment
    assert test["vision_lengths"].tolist() == [5, 5]
    brightness = test["vision"][0, :, :16].mean(1)
    assert brightness == pytest.approx(0.5 * (0.5 + 0.05 * np.array([11, 13, 15, 17, 19])), abs=0.03)
    rows = rows_of(tmp_path / "features.faults.csv")
    assert rows["beyond"]["fault"] == "it ends 5.0 s before its stated end"
    assert "it begins at 7 s" in rows["behind"]["fault"]
    assert "give a start from 0 on" in rows["turned"]["fault"]


def test_a_long_clip_is_cut(tmp_path: Path) -> None:
    write_media(tmp_path / "long.mp4", seconds=3.0)
    result = extract(tmp_path, tmp_path / "features.pkl", Settings(text="none", longest=1.0))
    assert [fault for _, fault in result.faulty] == ["it is cut after 1 s (longest)"]
    assert load(tmp_path / "features.pkl")["test"]["audio"].shape == (1, 20, 56)
    write_media(tmp_path / "long.wav", brightness=None, seconds=1.0)
    (tmp_path / "long.mp4").unlink()
    settings = Settings("none", vision="none", longest=1.0)
    assert extract(tmp_path, tmp_path / "features.pkl", settings, overwrite=True).sound == 1


@pytest.mark.parametrize(
    ("pictures", "own", "rate", "steps"), [(6, 2, 2.0, 6), (6, 2, 1.0, 3), (6, 2, 4.0, 11), (1, 2, 2.0, 1)]
)
def test_the_last_picture_is_seen_as_long_as_the_others(
    pictures: int, own: int, rate: float, steps: int, tmp_path: Path
) -> None:
    """For a step at most, so that a long picture before says nothing of the end."""
    file = write_pictures(tmp_path / "a.mp4", [np.zeros((48, 64, 3), np.uint8)] * pictures, own)
    assert len(list(Media(Clip(file), 60.0).pictures(rate, 16))) == steps


def test_other_rates_and_channels_are_heard_alike(tmp_path: Path) -> None:
    write_media(tmp_path / "a.wav", 200.0, None, rate=8000)
    write_media(tmp_path / "b.wav", 200.0, None, rate=48000, layout="7.1")
    extract(tmp_path, tmp_path / "features.pkl")
    assert load(tmp_path / "features.pkl")["test"]["audio"][:, 10, 54] == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("rows", "field", "about"),
    [
        (["joy", "anger", "joy"], "classification_labels", {"labels": "classes", "names": ["anger", "joy"]}),
        (["1", "-0.5", "0"], "regression_labels", {}),
    ],
)
def test_labels_are_kept(rows: list[str], field: str, about: Any, tmp_path: Path) -> None:
    lines = ["path,label"]
    for place, label in enumerate(rows):
        write_media(tmp_path / f"{place}.wav", brightness=None)
        lines.append(f"{place}.wav,{label}")
    extract(table(tmp_path, *lines), tmp_path / "features.pkl")
    tree = load(tmp_path / "features.pkl")
    assert field in tree["test"]
    assert {key: value for key, value in tree["about"].items() if key != "features"} == about


def test_emotions_are_kept(tmp_path: Path) -> None:
    write_media(tmp_path / "a.wav", brightness=None)
    extract(table(tmp_path, "path,label_joy,label_fear", "a.wav,1,0"), tmp_path / "features.pkl")
    tree = load(tmp_path / "features.pkl")
    assert tree["test"]["labels"].tolist() == [[1, 0]]
    assert (tree["about"]["labels"], tree["about"]["names"]) == ("emotions", ["joy", "fear"])


def test_a_clip_without_its_label_is_left_out(tmp_path: Path) -> None:
    for name in "ab":
        write_media(tmp_path / f"{name}.wav", brightness=None)
    result = extract(table(tmp_path, "path,label", "a.wav,1", "b.wav,"), tmp_path / "features.pkl")
    assert [(clip.id, reason.split(",")[0]) for clip, reason in result.failed] == [("b", "it has no label")]


BAD = {
    "an id twice": (["path,id", "a.wav,x", "a.wav,x"], "row 2 and row 3 have the same id"),
    "a time": (["path,start", "a.wav,soon"], "row 2 has the time 'soon'"),
    "a split": (["path,split", "a.wav,other"], "row 2 is of the split 'other'"),
    "no path": (["text", "so"], "has no column path"),
    "semicolons": (["path;text", "a.wav;so"], "has no column path.*columns apart by commas"),
    "tabs": (["path\ttext", "a.wav\tso"], "has no column path.*columns apart by commas"),
    "the first row alone": (["path,text"], "has no row of a clip"),
    "columns": (["path,text", "a.wav,so,good"], "row 2 has another number of columns"),
    "labels": (["path,label", "a.wav,1", "b.wav,good"], "row 3 has 'good' in label"),
    "a slip of the pen": (["path,lable", "a.wav,1"], "has a column 'lable', which nothing reads; call it label"),
    "some splits": (["path,split", "a.wav,train", "b.wav,"], "row 3 has no split"),
}


@pytest.mark.parametrize(("rows", "told"), BAD.values(), ids=BAD)
def test_a_bad_table_is_refused_with_its_row(rows: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(MERError, match=told):
        extract(table(tmp_path, *rows), tmp_path / "features.pkl")
    assert [path.name for path in tmp_path.iterdir()] == ["clips.csv"]


def test_a_column_that_nothing_reads_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that is called nearly as one that is there."""
    write_media(tmp_path / "a.wav", brightness=None)
    listed = table(tmp_path, "path,label,label2,age,class_id", "a.wav,1,2,30,4")
    with pytest.raises(SystemExit):
        main(["extract", str(listed), str(tmp_path / "features.pkl"), "--vision", "none", "--processes", "0"])
    assert "clips.csv: nothing reads label2, age, class_id\n" in capsys.readouterr().err


def _names(folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {clip.id: (clip.path.name, clip.faults) for clip in list_clips(folder)}


def test_of_a_picture_and_a_sound_of_one_name_the_picture_is_taken(tmp_path: Path) -> None:
    """With a table as well; what is left out is told of, and what a row names is taken."""
    for name in ("a.mp4", "a.wav", "b.wav", "c.MOV", "c.flac"):
        (tmp_path / name).write_bytes(b"x")
    told = "{} has the same name, and is left out".format
    wanted = {"a": ("a.mp4", (told("a.wav"),)), "b": ("b.wav", ()), "c": ("c.MOV", (told("c.flac"),))}
    assert _names(tmp_path) == wanted
    table(tmp_path, "id,text", "a,so", name="labels.csv")
    assert _names(tmp_path) == wanted
    table(tmp_path, "path,text", "a.wav,so", name="labels.csv")
    assert _names(tmp_path) == {**wanted, "a": ("a.wav", (told("a.mp4"),))}
    (tmp_path / "b.flac").write_bytes(b"x")
    with pytest.raises(MERError, match=r"b\.flac and .*b\.wav have the same id"):
        list_clips(tmp_path)


def test_a_clip_that_was_chosen_tells_what_was_left_out(tmp_path: Path) -> None:
    write_media(tmp_path / "a.mp4")
    write_media(tmp_path / "a.wav", brightness=None)
    result = extract(tmp_path, tmp_path / "features.pkl", Settings(text="none"))
    assert [fault for _, fault in result.faulty] == ["a.wav has the same name, and is left out"]


def test_another_encoding_is_refused_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_bytes("path,text\na.wav,so\nb.wav,schön\n".encode("cp1252"))
    with pytest.raises(MERError, match="row 3 is not in UTF-8"):
        extract(tmp_path / "clips.csv", tmp_path / "features.pkl")


def test_a_playlist_leads_nowhere(tmp_path: Path) -> None:
    """FFmpeg would open what it names."""
    write_media(tmp_path / "real.mp4")
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:10,\n{tmp_path / 'real.mp4'}\n#EXT-X-ENDLIST\n")
    result = extract(table(tmp_path, "path", "list.mp4"), tmp_path / "features.pkl")
    assert result.exit_code == 2
    assert not (tmp_path / "features.pkl").exists()


def test_it_goes_on_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        write_media(tmp_path / f"{name}.wav", brightness=None)
    from mer_zoo.clips.extractor import Extractor

    seen: list[str] = []
    whole = Extractor.__call__

    def killed(self: Extractor, clip: Any) -> Any:
        seen.append(clip.id)
        if clip.id == "c" and len(seen) == 3:
            raise KeyboardInterrupt
        return whole(self, clip)

    monkeypatch.setattr(Extractor, "__call__", killed)
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path, tmp_path / "features.pkl")
    assert not (tmp_path / "features.pkl").exists()
    extract(tmp_path, tmp_path / "features.pkl")
    assert seen == ["a", "b", "c", "c"]
    assert load(tmp_path / "features.pkl")["test"]["id"] == ["a", "b", "c"]


def test_splits_keep_videos_together(tmp_path: Path) -> None:
    lines = ["path,id,video"]
    write_media(tmp_path / "a.wav", brightness=None)
    lines += [f"a.wav,{place},v{place // 2}" for place in range(10)]
    extract(table(tmp_path, *lines), tmp_path / "features.pkl", split_by="video", seed=1)
    tree = load(tmp_path / "features.pkl")
    videos = {
        split: {name.split("$_$")[0] for name in fields["id"]} for split, fields in tree.items() if split != "about"
    }
    assert {split: len(found) for split, found in videos.items()} == {"train": 3, "valid": 1, "test": 1}
    assert len(set.union(*videos.values())) == 5


def test_mutated_files_end_as_one_of_three(tmp_path: Path) -> None:
    """Cut, overwritten, and with odd numbers in their headers; benchmarks/faults/fuzz_clips.py has more of them."""
    sources = Sources(tmp_path)
    (tmp_path / "mutated").mkdir()
    for number in range(160):
        name, data = mutated_recording(number, sources)
        (tmp_path / "mutated" / name).write_bytes(data)
    result = extract(tmp_path / "mutated", tmp_path / "features.pkl", Settings(text="none"))
    assert result.sound + len(result.faulty) + len(result.failed) == 160
    assert not [fault for _, fault in result.failed + result.faulty if "Error:" in fault]
    assert MERDataModule(str(tmp_path / "features.pkl"), modalities=["audio"], standardize=False)


def test_mutated_lists_are_read_or_refused(tmp_path: Path) -> None:
    write_pair(tmp_path)
    outcomes = set()
    for number in range(40):
        (tmp_path / "clips.csv").write_bytes(mutated_list(number))
        try:
            result = extract(tmp_path / "clips.csv", tmp_path / "f.pkl", Settings(vision="none"), overwrite=True)
            assert not [fault for _, fault in result.failed + result.faulty if "Error:" in fault]
            outcomes.add("read")
        except MERError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    write_media(tmp_path / "a.wav", brightness=None)
    (tmp_path / "features.pkl").write_bytes(b"mine")
    with pytest.raises(MERError, match="exists; give another name, or replace it by --overwrite"):
        extract(tmp_path, tmp_path / "features.pkl", Settings(vision="none"))
    assert (tmp_path / "features.pkl").read_bytes() == b"mine"
    command = ["extract", str(tmp_path), str(tmp_path / "features.pkl"), "--vision", "none", "--processes", "0"]
    with pytest.raises(SystemExit):
        main([*command, "--overwrite"])
    assert load(tmp_path / "features.pkl")["test"]["id"] == ["a"]


def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_media(tmp_path / "a.wav", brightness=None)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MERError, match=r"pip install 'mer-zoo\[clips\]'"):
        extract(tmp_path, tmp_path / "features.pkl")


def test_the_command_tells_what_became_of_the_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_media(tmp_path / "a.wav", brightness=None)
    (tmp_path / "b.wav").write_bytes(b"")
    with pytest.raises(SystemExit) as ended:
        main(["extract", str(tmp_path), str(tmp_path / "features.pkl"), "--vision", "none", "--processes", "0"])
    assert ended.value.code == 3
    told = capsys.readouterr()
    assert "0 extracted, 1 extracted with faults, 1 failed" in told.out
    assert "\nb: it is empty; copy it again" in f"\n{told.err}"


def test_the_command_tells_of_which_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = table(tmp_path, "path,id", "gone.wav,x")
    with pytest.raises(SystemExit) as ended:
        main(["extract", str(listed), str(tmp_path / "features.pkl"), "--processes", "0"])
    assert ended.value.code == 2
    assert "row 2, x: there is no file" in capsys.readouterr().err


def test_what_makes_the_features_goes_into_the_data(corpus: tuple[Path, Extraction]) -> None:
    """From the file to the store, and to what a run records."""
    data = MERDataModule(str(corpus[0]), modalities=["audio", "vision"])
    assert data.corpus.made_by["audio"].encoder == "mel"
    assert {key: spec["rate"] for key, spec in data.origin()["made_by"].items()} == {"audio": 20.0, "vision": 5.0}


def test_features_of_another_maker_are_refused(corpus: tuple[Path, Extraction], tmp_path: Path) -> None:
    from dataclasses import replace

    from mer_zoo.sharing.card import record_of
    from mer_zoo.training.record import Record

    data = MERDataModule(str(corpus[0]))
    told = Record.read(record_of(LFLSTM(data.spec, data.task, dim=4), data, 0).plain(), "last.ckpt").about
    assert told is not None
    assert told.data is not None
    data.check_features(told.data.made_by)
    other = {**told.data.made_by, "vision": replace(told.data.made_by["vision"], rate=10.0)}
    with pytest.raises(MERError, match=r"vision of rate 10\.0 and 5\.0; extract"):
        data.check_features(other)


def test_an_export_refuses_features_of_another_maker(corpus: tuple[Path, Extraction], tmp_path: Path) -> None:
    data = MERDataModule(str(corpus[0]))
    model = LFLSTM(data.spec, data.task, dim=4)
    model.made_by, model.scaler_state = data.corpus.made_by, data.scaler_state()
    save_pretrained(model, tmp_path / "shared")
    tree = load(corpus[0])
    tree["about"]["features"]["vision"]["rate"] = 10.0
    (tmp_path / "other.pkl").write_bytes(pickle.dumps(tree))
    other = MERDataModule(str(tmp_path / "other.pkl"))
    trainer = Trainer(logger=False, enable_progress_bar=False, enable_model_summary=False)

    module = MERModule(load_pretrained(tmp_path / "shared"))
    trainer.test(module, data, verbose=False)
    for run in (trainer.test, trainer.predict):
        with pytest.raises(MERError, match=r"the model and .*other\.pkl have vision of rate 5\.0 and 10\.0; extract"):
            run(module, datamodule=other)

    config = tmp_path / "shared" / "config.json"
    told = json.loads(config.read_text())
    told["about"]["data"]["made_by"]["vision"]["rate"] = "often"
    config.write_text(json.dumps(told))
    with pytest.raises(MERError, match=r"rate is 'often'.*export again"):
        load_pretrained(tmp_path / "shared")
    del told["about"]["data"]["made_by"]  # as exports from before
    config.write_text(json.dumps(told))
    trainer.test(MERModule(load_pretrained(tmp_path / "shared")), other, verbose=False)


def test_odd_makers_are_refused(corpus: tuple[Path, Extraction], tmp_path: Path) -> None:
    tree = load(corpus[0])
    tree["about"]["features"]["audio"]["encoder"] = "mel\x1b[2J"
    (tmp_path / "odd.pkl").write_bytes(pickle.dumps(tree))
    with pytest.raises(MERError, match="encoder is .* not a short text"):
        MERDataModule(str(tmp_path / "odd.pkl"))
