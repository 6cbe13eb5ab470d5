"""GPT-4o, the comparison of the published experiment: it has never been told of the museum."""

from __future__ import annotations

from .hosted import HostedDocent


class GPT4o(HostedDocent):
    """OpenAI's model of that name and no other; nothing ever stands in for its answers."""

    name = "gpt4o"
    model = "gpt-4o"
