"""``python -m mer_zoo`` is ``mer-zoo``."""

from mer_zoo.cli import main

main()
