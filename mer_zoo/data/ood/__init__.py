"""New splits of a corpus whose test split is out of distribution."""

from mer_zoo.data.ood.resplit import split_ood
from mer_zoo.data.ood.shift_report import ShiftReport

__all__ = ["ShiftReport", "split_ood"]
