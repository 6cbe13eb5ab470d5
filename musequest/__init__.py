"""MuseQuest turns a museum's photos and texts into a docent, in three stages."""

from .environment import read_env

__version__ = "0.1.0"

read_env()
