"""What one pass over a corpus shows: outlines of its features, what its splits share, and what tells the label."""

from mer_zoo.data.survey.finding import Finding, NotChecked
from mer_zoo.data.survey.material import Material, read_material
from mer_zoo.data.survey.moments import Moments

__all__ = ["Finding", "Material", "Moments", "NotChecked", "read_material"]
