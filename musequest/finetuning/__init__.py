"""Stage 2: one base model, one training path, approaches that differ by configuration only."""

import logging

# At its import, which peft does, it warns that a faster kernel for processors is not installed.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
