"""MuseQuest turns a museum's photos and texts into a docent, in three stages."""

import logging

from .environment import read_env, wait_politely

__version__ = "0.1.0"

read_env()  # which may say how threads wait
wait_politely()
# bitsandbytes, which several libraries import, warns that a faster kernel for processors is not
# installed; nothing here needs it.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
