"""The hosted writer: dialogs by a language model behind any OpenAI-compatible server.

In the order of a call: `prompts` says what is asked, `pacing` when it may be asked, `calls` asks on
a `session`, `faults` tells apart what goes wrong, `replies` reads what comes, `ledger` keeps what
was paid for, `acceptance` decides what becomes data. `prices` knows what it costs. `HostedWriter`
holds them together; `BatchWriter` hands the same requests over in `batches`.
"""

from .batch_writer import BatchWriter
from .writer import HostedWriter, expected_cost

__all__ = ["BatchWriter", "HostedWriter", "expected_cost"]
