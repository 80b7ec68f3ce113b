"""Is this number possible? Splits that overlap, features that hold the label, answers that need no input."""

from mer_zoo.audit.finding import Page
from mer_zoo.audit.page import audit
from mer_zoo.data.survey.finding import Finding, NotChecked

__all__ = ["Finding", "NotChecked", "Page", "audit"]
