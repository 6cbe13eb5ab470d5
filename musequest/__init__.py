"""MuseQuest turns a museum's photos and texts into a docent, in three stages."""

__version__ = "0.1.0"
