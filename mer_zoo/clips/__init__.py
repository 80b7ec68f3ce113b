"""From recordings to features: ``mer-zoo extract``, and the same from Python.

Stages, each a small part: :mod:`~mer_zoo.clips.listing` finds the clips, :mod:`~mer_zoo.clips.media` decodes them,
:mod:`~mer_zoo.clips.encoders` make steps of features, :mod:`~mer_zoo.clips.views` look at pictures or
:mod:`~mer_zoo.clips.faces`, :mod:`~mer_zoo.clips.extractor` puts them together for a clip,
:mod:`~mer_zoo.clips.workers` do several at a time and outlive damaged files, :mod:`~mer_zoo.clips.output` writes the
corpus.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
