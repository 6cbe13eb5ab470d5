"""What a rank runs: `train`, as the process that launched it was asked to.

    python -m torch.distributed.run ... --module musequest.finetuning.rank_process asked.json
    notebook_launcher(train_rank, (...))

`training` is loaded by the functions: whoever imports this may not have touched a device yet.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from ..files import read_json
from ..settings import Profile


def train_rank(*arguments: Any, **options: Any) -> dict[str, Any]:
    """`train`, for Accelerate's notebook_launcher, which wants no device touched before."""
    from .training import train

    return train(*arguments, **options)


def main(path: str) -> None:
    """Train as `launch` wrote it to the file `path`; stop when the launcher is gone."""
    import torch

    from .training import train

    _stop_when_left_alone()
    asked = read_json(path)
    train(**{**asked, "profile": Profile(**asked["profile"])})
    torch.distributed.destroy_process_group()


def _stop_when_left_alone() -> None:
    """Send this process SIGTERM, at which it saves a state, once nobody holds its input open."""

    def wait() -> None:
        # Not through sys.stdin, whose lock would stay taken when the process ends.
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    from torch.distributed.elastic.multiprocessing.errors import record

    record(main)(sys.argv[1])
