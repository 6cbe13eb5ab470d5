"""The commands that walk through the notebooks, write the readmes' figures and tidy up."""

from __future__ import annotations

import sys
from pathlib import Path

from ..core.command_line import PROFILE, command, option, profile_of, seeds
from ..core.home import check_env, home, remove_made, root


@command(
    option("--profile", "a name in profiles/ or a YAML file", default="pocket"),
    option("--longer", "and what a demo leaves out", action="store_true"),
)
def demo(profile: str, longer: bool) -> None:
    """Walk all three stages, from photos to report.html, by their notebooks."""
    profile_of(profile)
    from .walks import DEMO, LONGER, demo

    demo(profile, (*DEMO, *LONGER) if longer else DEMO)


@command(
    PROFILE,
    option("--refresh", "replace the committed notebooks", action="store_true"),
    seeds("train each approach so many times (default: 1)"),
)
def six(profile: str, refresh: bool, seeds: int | None) -> None:
    """Run all approaches with their notebooks, and compare them in one table."""
    profile_of(profile)
    from .walks import compare_approaches

    compare_approaches(profile, refresh=refresh, seeds=seeds or 1)


@command()
def notebooks() -> None:
    """Walk the longer demo and put its notebooks, with outputs, where the committed ones are."""
    from .walks import refresh

    refresh()


@command(
    option("--keep", "first keep this profile's last demo", metavar="PROFILE"),
    option("--keep-retrieval", "first keep its last 3.2", metavar="PROFILE"),
    option("--keep-six", "first keep its last `make six`", metavar="PROFILE"),
    option("--keep-runs", "first keep what its six approaches left", metavar="PROFILE"),
)
def readme(
    keep: str | None, keep_retrieval: str | None, keep_six: str | None, keep_runs: str | None
) -> None:
    """Write the figures of the readmes from the records in benchmarks/records/."""
    for name in filter(None, (keep, keep_retrieval, keep_six, keep_runs)):
        profile_of(name)
    sys.path.insert(0, str(root()))  # the tables lie beside their records, outside the package
    from benchmarks.tables.readme_tables import write_readmes

    write_readmes(demo=keep, retrieval=keep_retrieval, six=keep_six, runs=keep_runs)


@command(PROFILE)
def clean(profile: str) -> None:
    """Remove data, runs and results of a profile, wherever they lie."""
    check_env()
    file = profile.endswith((".yaml", ".yml"))  # as for all commands, but it need not be there
    name = Path(profile).stem if file else profile
    for removed in (found := remove_made(name)):
        print(f"Removed {removed}.")
    if not found:
        print(f"Nothing of '{name}' lies under {home()}.")
