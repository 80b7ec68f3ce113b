"""Tables, pictures and published figures: what a run leaves behind and how runs are compared."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
