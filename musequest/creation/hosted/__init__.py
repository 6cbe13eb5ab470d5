"""The hosted writer: dialogs by a language model behind any OpenAI-compatible server.

In the order of a call: `prompts` says what is asked, `parameters` what of it a model takes,
`pacing` when it may be asked, `calls` asks, `faults` tells apart what goes wrong, `responses` and
`replies` read what comes, `ledger` keeps what was paid for, `disk` says when that is safe,
`acceptance` decides what becomes data, with `spoken_language` for its language, and `verdicts` when
that happens too seldom. `prices` and `estimate` know what it costs. `HostedWriter` holds them
together; `BatchWriter` hands the same requests over in `batches`.
"""

from .batch_writer import BatchWriter
from .writer import HostedWriter, expected_cost

__all__ = ["BatchWriter", "HostedWriter", "expected_cost"]
