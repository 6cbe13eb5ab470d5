"""What all packages stand on: places, files, tables, settings, errors, commands.

`home` says where things lie, `tables` which columns a file has, `files` writes whole or not at all,
`settings` reads profiles and approaches by the rules of `keys` and `training_arguments`, `errors`
makes one sentence of what went wrong, and `command_line` how a command is declared and ends.
`photos`, `hub`, `predictions` and `json_shapes` each know one kind of thing from outside. Nothing
here knows a stage. Start with `home`, then `settings`.

What stands in this file is the public face of a package, names that load their module at first use:

    __getattr__, __dir__, __all__ = public(__name__, {"training": ["train"]})

So `from musequest.finetuning import train` finds it, and `musequest --help` loads no model library.
Own code, as it runs before anything else does: also where no other package is installed, which a
command then says in one sentence.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def public(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package whose modules hold these public names.

    `modules` maps a module, relative to the package, to its names; under its own name a module
    is itself public. A name must not be that of a module of the package, which would hide it.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{homes[name]}")
        return module if homes[name].endswith(f".{name}") else getattr(module, name)

    return load, lambda: sorted(homes), sorted(homes)


class Moved:
    """Finds modules that are elsewhere now, and says where what they held is imported from.

    `moved` maps a module of today, or the command of one that was run, to the old ones within this
    package. To be put behind the other finders of `sys.meta_path`, so that it is asked only for
    what they do not find.
    """

    def __init__(self, moved: Mapping[str, str]) -> None:
        self.homes = {
            f"musequest.{old}": home.replace("*", old.rpartition(".")[2])
            for home, olds in moved.items()
            for old in olds.split()
        }

    def find_spec(self, name: str, *_: Any) -> None:
        """ModuleNotFoundError with the new place of a module that moved; else nothing."""
        if name in self.homes:
            home = self.homes[name]
            now = f"the command is '{home}'" if " " in home else f"import its names from '{home}'"
            raise ModuleNotFoundError(f"'{name}' is no longer a module; {now}.", name=name)
