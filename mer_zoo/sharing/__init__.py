"""Trained models for other people: export, load, recipe and card."""

from mer_zoo.sharing.export import save_pretrained
from mer_zoo.sharing.pretrained import load_pretrained

__all__ = ["load_pretrained", "save_pretrained"]
