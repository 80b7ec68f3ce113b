"""One clip after the other, predicted with all that a person wants to see of it: from Python, and on a local page.

:mod:`~mer_zoo.demo.predictor` makes a clip into what a trained model reads, and into an answer,
:mod:`~mer_zoo.demo.markup` writes that as HTML, :mod:`~mer_zoo.demo.desk` does what the page of ``mer-zoo demo`` is
asked, and :mod:`~mer_zoo.demo.page` is that page, the only module that needs gradio.
"""

from mer_zoo.demo.answer import Answer
from mer_zoo.demo.predictor import Predictor

__all__ = ["Answer", "Predictor"]
