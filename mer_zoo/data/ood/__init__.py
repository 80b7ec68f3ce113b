"""New splits of a corpus: out of distribution, or without a speaker or other group in common."""

from mer_zoo.data.ood.by_group import split_by_group
from mer_zoo.data.ood.resplit import split_ood
from mer_zoo.data.ood.shift_report import ShiftReport

__all__ = ["ShiftReport", "split_by_group", "split_ood"]
