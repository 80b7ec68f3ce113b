"""``mer-zoo reproduce``: rows of the papers' tables as commands, and their figures beside ours."""
