"""Joint representations in two dimensions: equal by seed, and with numbers that a library agrees with."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from mer_zoo.errors import MERError
from mer_zoo.explain import embeddings
from mer_zoo.explain.embeddings import embed, main, neighbour_accuracy
from mer_zoo.reports.kept_features import KeptFeatures, save_features
from mer_zoo.scores import Scores


def drawn(seed: int, apart: float, dim: int = 5, size: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.arange(size) % 3
    x = torch.randn(size, dim, generator=generator)
    x[:, 0] += apart * target
    return x, target


def write_run(folder: Path, model: str, apart: float, conditions: list[str]) -> Path:
    scores = {}
    for seed, name in enumerate(conditions):
        x, target = drawn(seed, apart)
        ids = [f"video{place // 2}$_${place}" for place in range(len(x))]
        scores[name] = Scores(torch.zeros(len(x), 3), {}, target, torch.arange(len(x)), ids=ids, features=x)
    folder.mkdir(parents=True)
    save_features(folder, scores, set())
    entries = {name: {"count": 24, "metrics": {"Acc3": 0.5}} for name in conditions}
    result = {"model": model, "task": "binary", "convention": "mmsa", "seed": 0, "conditions": entries}
    (folder / "results.json").write_text(json.dumps(result))
    return folder


def test_neighbours_are_those_of_other_recordings() -> None:
    x, y = drawn(3, 1.5)
    classes, groups = [str(each) for each in y.tolist()], [str(place // 3) for place in range(len(y))]
    right = 0
    for place in range(len(x)):
        others = [each for each in range(len(x)) if groups[each] != groups[place]]
        near = sorted(others, key=lambda each: float((x[each] - x[place]).norm()))[:7]
        votes = Counter(classes[each] for each in near)
        ranks = {name: sum(rank for rank, each in enumerate(near) if classes[each] == name) for name in votes}
        right += min(votes, key=lambda name: (-votes[name], ranks[name])) == classes[place]
    assert neighbour_accuracy(x, classes, groups, 7) == right / len(x)


def test_numbers_tell_classes_apart_only_where_they_are() -> None:
    pytest.importorskip("sklearn")
    found = []
    for apart in (0.0, 9.0):
        x, y = drawn(0, apart)
        kept = KeptFeatures(x, y, [f"clip{place}" for place in range(len(x))])
        found.append(embed("net", "iid", kept, [["a", "b", "c"][each] for each in y.tolist()], seed=1))
        again = embed("net", "iid", kept, [["a", "b", "c"][each] for each in y.tolist()], seed=1)
        assert all(found[-1].points[name].equal(again.points[name]) for name in ("pca", "tsne"))
    assert found[0].silhouette[""] < 0.1 < 0.5 < found[1].silhouette[""]
    assert found[0].neighbours < 0.7 < 0.95 < found[1].neighbours
    assert found[0].largest == pytest.approx(1 / 3)
    assert found[0].dimensions == 5


def test_the_command_draws_what_runs_have_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    plain = write_run(tmp_path / "plain", "MulT", 1.0, ["iid", "RMFM 0.3"])
    ours = write_run(tmp_path / "ours", "CausalMER(MulT)", 4.0, ["iid", "RMFM 0.3", "RMFM 0.5"])
    main([str(plain), str(ours), "--conditions", "RMFM 0.3", "--out", str(tmp_path / "out")])
    assert "CausalMER(MulT)" in capsys.readouterr().out
    names = {f"embeddings{kind}" for kind in (".md", ".csv", "_pca.png", "_pca.svg", "_tsne.png", "_tsne.svg")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    with pytest.raises(MERError, match=r"'RMFM 0.5'; all have iid, RMFM 0.3"):
        main([str(plain), str(ours), "--conditions", "RMFM 0.5"])
    (plain / "features.safetensors").unlink()
    with pytest.raises(MERError, match=r"has kept no joint representations; .*--record\.features=true"):
        main([str(plain)])


def test_without_scikit_learn_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.manifold", None)
    with pytest.raises(MERError, match=r"not installed; pip install 'mer-zoo\[explain\]'"):
        embeddings._sklearn()
