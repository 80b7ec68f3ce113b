"""``python -m mer_zoo`` is ``mer-zoo``."""

from mer_zoo.cli import main

if __name__ == "__main__":
    main()
