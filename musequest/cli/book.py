"""The commands that walk through the notebooks, write the readmes' figures, and clean up."""

# Each command imports what it needs itself, so that none waits for the libraries of another.

from __future__ import annotations

import argparse

from .options import add, add_profile


def demo(chosen: argparse.Namespace) -> None:
    """Walk all three stages, from photos to report.html, by their notebooks."""
    from ..book.notebooks import DEMO, LONGER
    from ..book.notebooks import demo as run

    run(chosen.profile, (*DEMO, *LONGER) if chosen.longer else DEMO)


def six(chosen: argparse.Namespace) -> None:
    """Run all approaches with their notebooks, and compare them in one table."""
    from ..book.notebooks import compare_approaches

    compare_approaches(chosen.profile, refresh=chosen.refresh)


def notebooks(chosen: argparse.Namespace) -> None:
    """Walk the longer demo and put its notebooks, with outputs, where the committed ones are."""
    from ..book.notebooks import refresh

    refresh()


def readme(chosen: argparse.Namespace) -> None:
    """Write the figures of the readmes from the records in benchmarks/records/."""
    from ..book.readme_tables import write_readmes

    write_readmes(demo=chosen.keep, retrieval=chosen.keep_retrieval, six=chosen.keep_six)


def clean(chosen: argparse.Namespace) -> None:
    """Remove data, runs and results of a profile, wherever they lie."""
    from ..environment import check_env
    from ..home import remove_made

    check_env()
    for removed in remove_made(chosen.profile):
        print(f"Removed {removed}.")


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands of the book with their options."""
    command = add(commands, demo)
    command.add_argument("--profile", default="pocket", help="a name in profiles/ or a YAML file")
    command.add_argument("--longer", action="store_true", help="and what a demo leaves out")
    command = add(commands, six)
    add_profile(command)
    command.add_argument("--refresh", action="store_true", help="replace the committed notebooks")
    add(commands, notebooks)
    command = add(commands, readme)
    command.add_argument("--keep", metavar="PROFILE", help="first keep this profile's last demo")
    command.add_argument("--keep-retrieval", metavar="PROFILE", help="first keep its last 3.2")
    command.add_argument("--keep-six", metavar="PROFILE", help="first keep its last `make six`")
    add_profile(add(commands, clean))
