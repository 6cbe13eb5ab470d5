"""The commands, each one call of what the notebooks call too.

    python -m musequest --help
    python -m musequest collect folder DIR --collection NAME
    python -m musequest augment | synthesize | dataset --collection NAME
    python -m musequest train | infer --profile P --approach A
    python -m musequest report --profile P

A command that fails prints one sentence and exits with 1; one stopped by Ctrl-C exits with 130.
"""

from __future__ import annotations

import argparse
import logging
import sys

from . import __version__
from .book import commands as book
from .core.command_line import Command, exit_code
from .creation import commands as creation
from .evaluation import commands as evaluation
from .finetuning import commands as finetuning
from .serving import commands as serving

# Loggers of libraries that warn, whenever they are imported, of what nobody asked for.
LOUD = ("torchao", "torch.utils._pytree")
# In the order in which a museum becomes a docent.
PACKAGES = creation, finetuning, evaluation, serving, book
# Commands that have others below them.
GROUPS = {"collect": "Read exhibits and photos into data/<collection>/."}


def main(arguments: list[str] | None = None) -> int:
    """Run one command as typed in a shell; returns its exit code."""
    options, unknown = _parser().parse_known_args(arguments)
    typed = vars(options)
    run, parser = typed.pop("run"), typed.pop("parser")
    if unknown:  # told by the command's own parser, whose usage shows what may be typed
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    logging.basicConfig(format="%(message)s")
    for library in LOUD:
        logging.getLogger(library).setLevel(logging.ERROR)
    return exit_code(lambda: run(**typed))


def _parser() -> argparse.ArgumentParser:
    """The parser of all commands; what it parses has the function to be called as `run`."""
    parser = argparse.ArgumentParser(
        prog="python -m musequest", description="From a museum's photos and texts to a docent."
    )
    parser.add_argument("--version", action="version", version=__version__)
    groups = {"": parser.add_subparsers(required=True, metavar="COMMAND")}
    for group, meaning in GROUPS.items():
        above = groups[""].add_parser(group, help=meaning, description=meaning)
        groups[group] = above.add_subparsers(required=True, metavar="SOURCE")
    for each in (each for stage in PACKAGES for each in vars(stage).values()):
        if isinstance(each, Command):
            group, _, name = each.name.rpartition(" ")
            made = groups[group].add_parser(name, help=each.help, description=each.help)
            made.set_defaults(run=each.run, parser=made)
            for one in each.options:
                within = made.add_mutually_exclusive_group() if isinstance(one, list) else made
                for flag, how in one if isinstance(one, list) else [one]:
                    within.add_argument(flag, **how)
    return parser


if __name__ == "__main__":
    sys.exit(main())
