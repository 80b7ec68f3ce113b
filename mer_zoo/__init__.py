"""mer_zoo: multimodal emotion recognition models and the wrappers that debias them."""
