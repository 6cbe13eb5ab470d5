"""What one walk through the notebooks took: seconds, memory, disk, on which machine."""

import contextlib
import datetime
import sys
import threading
from pathlib import Path

import psutil

from ..files import write_json
from ..home import collection_dir, results_dir, run_dir
from ..settings import Profile


class DemoRecord:
    """Measures while it is open, as a context: `record.seconds[name]` is for the caller to fill."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.seconds: dict[str, float] = {}
        self.from_nothing = not any(folder.exists() for folder in self.folders())
        self.peak_memory_gib = 0.0
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._watch_memory, daemon=True)

    def folders(self) -> list[Path]:
        """Where the walk writes what the next one would not make again."""
        name = self.profile.name
        return [collection_dir(self.profile.collection), run_dir(name, "lora").parent]

    def __enter__(self) -> "DemoRecord":
        self._watch.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._over.set()
        self._watch.join()

    def _watch_memory(self) -> None:
        """Every half second, the resident memory of this process and all it started.

        Pages that processes share count each time.
        """
        while not self._over.wait(0.5):
            total = 0
            for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += process.memory_info().rss
            self.peak_memory_gib = max(self.peak_memory_gib, total / 1024**3)

    def save(self, path: Path) -> None:
        """Write the record, unless one of a whole walk is there and this one skipped work."""
        from ..finetuning.records import disk_gib  # loads torch, whose memory is not the walk's

        if path.exists() and not self.from_nothing:
            return
        written = [*self.folders(), results_dir(self.profile.name)]
        stamp = Path(sys.prefix) / ".ready"  # in which `make setup` left how long it took
        record = {
            "profile": self.profile.name,
            "from_nothing": self.from_nothing,
            "setup_seconds": float(stamp.read_text()) if stamp.exists() else None,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "total_seconds": round(sum(self.seconds.values()), 1),
            "peak_memory_gib": round(self.peak_memory_gib, 2),
            "disk_gib": round(sum(map(disk_gib, written)), 3),
            **where_and_when(),
        }
        write_json(path, record)

    def sentence(self) -> str:
        """One line for the end of a demo."""
        minutes = sum(self.seconds.values()) / 60
        if not self.from_nothing:
            return f"{minutes:.1f} minutes; what was there already was not made again."
        return f"{minutes:.1f} minutes, {self.peak_memory_gib:.1f} GiB of memory at the most."


def where_and_when() -> dict[str, object]:
    """The keys of a record that tell on what it was measured: machine, versions, commit, date."""
    from ..finetuning.records import git_commit, hardware, versions

    return {
        "hardware": hardware(),
        "versions": versions(),
        "git_commit": git_commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
