"""The hosted writer: dialogs by a language model behind any OpenAI-compatible server.

In the order of a call: `requests` says what is asked and what that costs, `limiter` when it may be
asked, `server` what a refusal means, `session` asks until there is an answer, `ledger` keeps what
was paid for, `replies` says what becomes data. `HostedWriter` asks one by one; `BatchWriter` hands
the same requests over in `batches`.
"""

from ...core import public

__getattr__, __dir__, __all__ = public(
    __name__, {"writer": ["BatchWriter", "HostedWriter", "expected_cost"]}
)
