"""What one walk through the notebooks took: seconds, memory, disk, on which machine."""

import contextlib
import datetime
import sys
import threading
from pathlib import Path

import psutil

from ..core.files import write_json
from ..core.home import collection_dir, results_dir, run_dir
from ..core.settings import Profile
from ..evaluation.differences import Summary

# What makes a docent: how it has to answer about photos never seen in training.
TRACK, APPROACH = "unseen_photo", "lora"
DOCENT = {"identity_at_1": 0.95, "number_recall": 0.9}


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


def docent_scores(summary: Summary) -> dict[str, float]:
    """The scores of the tuned model by which it is a docent or is none; {} where one lacks."""
    own = summary.get(TRACK, {}).get(APPROACH, {})
    means = {name: own.get(name, {}).get("mean") for name in DOCENT}
    known = {name: mean for name, mean in means.items() if mean is not None}
    return known if known.keys() == DOCENT.keys() else {}


def time_to_docent(record: DemoRecord, summary: Summary) -> str:
    """A sentence: the seconds from photos to a docent, or which score was not reached."""
    scores = docent_scores(summary)
    if not record.from_nothing or not scores:
        return "Time to a docent: not measured; a walk that begins with nothing and scores lora is."
    told = " and ".join(f"{name} {score:.3f}" for name, score in scores.items())
    if any(scores[name] < least for name, least in DOCENT.items()):
        asked = " and ".join(f"{least:g}" for least in DOCENT.values())
        return f"Time to a docent: not reached; {told} on unseen photos where {asked} are asked."
    seconds = sum(record.seconds.values())
    return f"Time to a docent: {seconds:.0f} seconds, from photos to {told} on unseen photos."


def where_and_when() -> dict[str, object]:
    """The keys of a record that tell on what it was measured: machine, versions, commit, date."""
    from ..finetuning.records import git_commit, hardware, versions

    return {
        "hardware": hardware(),
        "versions": versions(),
        "git_commit": git_commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
