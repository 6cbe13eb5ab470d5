"""A small disk for a program that a test starts, which may fill it."""

import shutil
import subprocess
from pathlib import Path


def can_mount() -> bool:
    """Whether this user may have such a disk here."""
    if not shutil.which("unshare"):
        return False
    tried = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(tried, capture_output=True).returncode == 0


def on_small_disk(home: Path, kept: Path) -> list[str]:
    """What goes before a command so that its MUSEQUEST_HOME is a disk of 64 MiB.

    The disk has `home`'s data, and what it has of runs is copied to `kept` if all went well.
    """
    disk = kept.with_suffix(".disk")
    script = (
        f"mkdir {disk} {kept} && mount -t tmpfs -o size=64m tmpfs {disk} && "
        f"cp -r {home}/data {disk} && export MUSEQUEST_HOME={disk} && "
        f'"$@" && cp -r {disk}/runs {kept}'
    )
    return ["unshare", "-rm", "sh", "-c", script, "sh"]
