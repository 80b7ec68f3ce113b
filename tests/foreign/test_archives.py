"""Files of torch.save that are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mer_zoo.errors import MERError
from mer_zoo.foreign.archives import read_archive
from mer_zoo.training.checkpoint import check_if_local


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "best.ckpt")
    for path in (tmp_path / "best.ckpt", Path(os.devnull)):
        for read in (read_archive, check_if_local):
            with pytest.raises(MERError, match="is not a regular file"):
                read(path)
