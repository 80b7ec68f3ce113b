"""Tables, pictures and published figures: what a run leaves behind and how runs are compared."""

from mer_zoo.reports import report
from mer_zoo.reports.published import Published, published
from mer_zoo.reports.record import RunResults, load_results
from mer_zoo.reports.run import show_results, write_results

__all__ = ["Published", "RunResults", "load_results", "published", "report", "show_results", "write_results"]
