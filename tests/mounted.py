"""A small disk for a program that a test starts, which may fill it."""

import shutil
import subprocess


def can_mount() -> bool:
    """Whether this user may have such a disk here."""
    if not shutil.which("unshare"):
        return False
    tried = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(tried, capture_output=True).returncode == 0
