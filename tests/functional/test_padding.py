import torch

from mer_zoo.functional.padding import left_align, undo_left_align


def test_left_align_keeps_order_and_is_undone() -> None:
    rows = ["111100", "001111", "010110", "000000", "000001"]
    mask = torch.tensor([[c == "1" for c in row] for row in rows])
    x = torch.randn(5, 6, 3)
    aligned, real, order = left_align(x, mask)
    for i in range(5):
        assert torch.equal(aligned[i, : int(mask[i].sum())], x[i, mask[i]])
        assert real[i].tolist() == sorted(mask[i].tolist(), reverse=True)
    assert torch.equal(undo_left_align(aligned, order), x)
