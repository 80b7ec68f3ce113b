import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.training.param_groups import group_parameters


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.text_encoder = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        self.head = nn.Linear(2, 1)


def test_every_trainable_parameter_lands_in_exactly_one_group() -> None:
    net = Net()
    net.head.weight.requires_grad_(False)
    patterns = {
        "text_encoder.1.*": {"weight_decay": 0.0},
        "text_encoder.*": {"lr": 1e-5},
        "*.bias": {"weight_decay": 0.0},
    }
    groups = group_parameters(net.named_parameters(), patterns)
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in net.parameters() if p.requires_grad)
    assert groups[0]["params"] == list(net.text_encoder[1].parameters())
    assert groups[1]["lr"] == 1e-5
    assert groups[-1]["params"] == [net.head.bias]


def test_unknown_option_names_pattern_and_choices() -> None:
    with pytest.raises(MERError, match=r"param_groups '\*.bias' sets 'lrr'; this optimizer has lr, weight_decay"):
        group_parameters(Net().named_parameters(), {"*.bias": {"lrr": 1.0}}, ["lr", "weight_decay"])


def test_unmatched_pattern_warns() -> None:
    with pytest.warns(UserWarning, match="'nothing.*' matches no trainable parameter"):
        group_parameters(Net().named_parameters(), {"nothing.*": {"lr": 1.0}})


def test_nothing_trainable_is_refused() -> None:
    with pytest.raises(MERError, match="no trainable parameter"):
        group_parameters(Net().requires_grad_(False).named_parameters(), {})


def test_distributed_mean_on_one_process_is_the_weighted_mean() -> None:
    values, weights = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([1.0, 1.0, 0.0])
    assert distributed_mean(values).item() == pytest.approx(3.0)
    assert distributed_mean(values, weights).item() == pytest.approx(1.5)
    assert distributed_mean(values, torch.zeros(3)).item() == 0.0


GATHER = """
import sys, torch
rank, path = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
from mer_zoo.distributed import gather_rows
rows = gather_rows(10.0 * rank + torch.arange(3 - 2 * rank)[:, None])
assert rows.tolist() == [[0.0], [1.0], [2.0], [10.0]], rows
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_rows_of_uneven_shares_are_gathered(tmp_path: Path) -> None:
    runs = [subprocess.Popen([sys.executable, "-c", GATHER, str(rank), str(tmp_path / "store")]) for rank in range(2)]
    assert [run.wait(timeout=300) for run in runs] == [0, 0]
