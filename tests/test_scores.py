import torch

from mer_zoo.scores import Scores


def part(index: list[int]) -> Scores:
    values = torch.tensor(index, dtype=torch.float32)
    return Scores(values[:, None], {"twice": 2 * values}, values + 0.5, torch.tensor(index))


def test_concat_sorts_and_drops_repetitions() -> None:
    whole = Scores.concat([part([4, 0, 2]), part([1, 3, 0])])
    assert whole.index.tolist() == [0, 1, 2, 3, 4]
    assert whole.logits.flatten().tolist() == [0, 1, 2, 3, 4]
    assert whole.effects["twice"].tolist() == [0, 2, 4, 6, 8]
    assert whole.target.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]


def test_gather_without_processes_brings_float32_to_the_cpu() -> None:
    rough = part([1, 0])
    rough.logits = rough.logits.bfloat16()
    whole = Scores.gather([rough])
    assert whole.logits.dtype == torch.float32
    assert len(whole) == 2
