import jsonargparse
import pytest

from mer_zoo.data.missing.conditions import RATED, Condition, build_conditions
from mer_zoo.data.missing.frames import MRMS, RMFM, STMFM, TMFM, TraditionalRMFM
from mer_zoo.data.missing.pattern import RMM, SMM
from mer_zoo.data.missing.sets import AtLeastOne
from mer_zoo.errors import MERError

SYNTHETIC = ["train", "valid", "test_iid", "test_ood", "test_rct"]
SETS = ["{l}", "{a}", "{v}", "{l,a}", "{l,v}", "{a,v}"]


def names(conditions: list[Condition]) -> list[str]:
    return [condition.name for condition in conditions]


def test_default_is_every_test_split() -> None:
    assert build_conditions("default", SYNTHETIC) == [
        Condition("iid", "test_iid"),
        Condition("ood", "test_ood"),
        Condition("rct", "test_rct"),
    ]
    assert build_conditions("default", ["train", "valid", "test"]) == [Condition("iid", "test")]
    assert names(build_conditions("default", ["test", "test_iid"])) == ["test", "iid"]


def test_availability_is_on_the_first_test_split() -> None:
    conditions = build_conditions("availability", SYNTHETIC)
    assert names(conditions) == ["iid", *SETS]
    assert {condition.split for condition in conditions} == {"test_iid"}
    assert conditions[0].pattern is None
    assert conditions[5].pattern == SMM(["text", "vision"])


def test_availability_within_the_modalities_in_use() -> None:
    assert names(build_conditions("availability", ["test"], ["text", "audio"])) == ["iid", "{l}", "{a}"]
    assert names(build_conditions("availability", ["test"], ["text"])) == ["iid"]


def test_robustness_is_every_rate_of_a_pattern() -> None:
    rates = [step / 10 for step in range(11)]
    conditions = build_conditions("robustness", SYNTHETIC)
    assert names(conditions) == ["iid", *(f"RMFM {rate}" for rate in rates[1:])]
    assert [condition.pattern for condition in conditions] == [None, *map(RMFM, rates[1:])]
    assert {condition.split for condition in conditions} == {"test_iid"}
    assert build_conditions("robustness:RMFM", SYNTHETIC) == conditions
    for name in ("TraditionalRMFM", "RMM", "TMFM", "STMFM", "MRMS", "AtLeastOne"):
        other = build_conditions(f"robustness:{name}", SYNTHETIC)
        assert names(other)[:2] == ["iid", f"{name} 0.1"]
        assert other[-1].pattern == RATED[name](1.0)
    types = (RMFM, TraditionalRMFM, RMM, TMFM, STMFM, MRMS, AtLeastOne)
    assert [type(rated(0.5)) for rated in RATED.values()] == list(types)
    assert RATED["TraditionalRMFM"](0.5) == TraditionalRMFM(0.5, 0.5, 0.5)


def test_presets_on_another_split() -> None:
    conditions = build_conditions("robustness:RMM@ood", SYNTHETIC)
    assert names(conditions) == ["ood", *(f"ood RMM {step / 10}" for step in range(1, 11))]
    assert {condition.split for condition in conditions} == {"test_ood"}
    assert names(build_conditions("availability@test_rct", SYNTHETIC)) == ["rct", *(f"rct {name}" for name in SETS)]
    assert build_conditions("robustness@iid", SYNTHETIC) == build_conditions("robustness", SYNTHETIC)
    assert names(build_conditions("default@ood", SYNTHETIC)) == ["ood"]
    with pytest.raises(MERError, match="'robustness@odd': there is no test split 'odd'; choose from iid, ood, rct"):
        build_conditions("robustness@odd", SYNTHETIC)
    with pytest.raises(MERError, match="there is no test split 'valid'; choose from none"):
        build_conditions("robustness@valid", ["train", "valid"])


def test_presets_with_wrong_patterns() -> None:
    with pytest.raises(MERError, match=r"'robustness:RMMF': unknown pattern 'RMMF'; choose from RMFM, Traditional"):
        build_conditions("robustness:RMMF", SYNTHETIC)
    with pytest.raises(MERError, match="availability takes no pattern; did you mean robustness:RMM"):
        build_conditions("availability:RMM", SYNTHETIC)
    with pytest.raises(MERError, match="unknown conditions 'robustness:'; choose from"):
        build_conditions("robustness:", SYNTHETIC)


def test_presets_combine_without_repetition() -> None:
    assert names(build_conditions(["default", "availability", "default"], SYNTHETIC)) == ["iid", "ood", "rct", *SETS]


def test_presets_and_conditions_mix() -> None:
    half = Condition("half", "test_ood", RMM(0.5))
    conditions = build_conditions([half, "default"], SYNTHETIC)
    assert conditions[0] is half
    assert names(conditions) == ["half", "iid", "ood", "rct"]


def test_presets_need_no_test_split_to_fit() -> None:
    assert build_conditions(["default", "availability", "robustness"], ["train", "valid"]) == []


def test_unknown_preset() -> None:
    with pytest.raises(MERError, match="unknown conditions 'availabilty'; choose from default, availability"):
        build_conditions("availabilty", SYNTHETIC)


def test_one_name_for_two_conditions() -> None:
    with pytest.raises(MERError, match="two different conditions are called 'iid'"):
        build_conditions(["default", Condition("iid", "test_ood")], SYNTHETIC)


def test_split_that_is_not_there() -> None:
    with pytest.raises(MERError, match="condition 'x' wants the split 'test_a'; the corpus has train, valid"):
        build_conditions([Condition("x", "test_a")], SYNTHETIC)


def test_split_of_another_corpus_is_not_looked_up_here() -> None:
    foreign = Condition("cross", "test", source="mosei.pkl")
    assert build_conditions([foreign], ["train", "test_iid"]) == [foreign]


def test_conditions_from_yaml_options() -> None:
    def same(conditions: str | list[str | Condition]) -> str | list[str | Condition]:
        return conditions

    pattern = '{"class_path": "RMM", "init_args": {"rate": 0.5}}'
    option = f'[default, {{"name": "half", "split": "test_iid", "pattern": {pattern}}}]'
    conditions = jsonargparse.auto_cli(same, args=[f"--conditions={option}"], as_positional=False)
    assert conditions == ["default", Condition("half", "test_iid", RMM(0.5))]
    option = "[default,availability@ood,robustness:STMFM@ood]"
    conditions = jsonargparse.auto_cli(same, args=[f"--conditions={option}"], as_positional=False)
    assert conditions == ["default", "availability@ood", "robustness:STMFM@ood"]
    assert jsonargparse.auto_cli(same, args=["--conditions=robustness:RMM"], as_positional=False) == "robustness:RMM"


def test_presets_of_another_corpus() -> None:
    mosei = Condition("mosei", "test", source="mosei.pkl")
    conditions = build_conditions(["robustness@mosei", mosei, "default"], ["train", "valid", "test"])
    assert names(conditions) == ["mosei", *(f"mosei RMFM {step / 10}" for step in range(1, 11)), "iid"]
    assert {condition.source for condition in conditions[:-1]} == {"mosei.pkl"}
    with pytest.raises(MERError, match="there is no test split 'mosi'; choose from iid, mosei"):
        build_conditions([mosei, "robustness@mosi"], ["test"])


def test_null_is_no_condition() -> None:
    with pytest.raises(MERError, match="conditions is null; give a preset"):
        build_conditions(None, SYNTHETIC)  # type: ignore[arg-type]
