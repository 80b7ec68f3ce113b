"""The memory-mapped store of a converted corpus, and the cache of such stores."""

from mer_zoo.data.store.store import is_store, open_corpus, open_store, write_store

__all__ = ["is_store", "open_corpus", "open_store", "write_store"]
