"""mer_zoo: multimodal emotion recognition models and the wrappers that debias them.

Example:
    >>> import mer_zoo
    >>> data = mer_zoo.SyntheticMER(task="binary")
    >>> model = mer_zoo.CausalMER(mer_zoo.MulT(data.spec, data.task, dim=8, heads=2, depth=1))
    >>> model.name
    'CausalMER(MulT)'
"""

import lazy_loader

# What is exported stands in __init__.pyi; each name is imported when it is first asked for, torch with it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
