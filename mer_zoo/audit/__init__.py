"""Is this number possible? Splits that overlap, features that hold the label, answers that need no input."""

from mer_zoo.audit.finding import Finding, NotChecked, Page
from mer_zoo.audit.page import audit

__all__ = ["Finding", "NotChecked", "Page", "audit"]
