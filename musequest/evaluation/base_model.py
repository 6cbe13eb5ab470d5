"""The published score's encoder: the base model's own reading of a text.

The published experiment compared texts by the last hidden states, averaged over the tokens, of
whichever model had answered, so that each system was measured in a space of its own. Here the
untuned base model reads the answers of all systems. Each text is read alone, so that its vector
does not depend on what else is scored; distances are kept beside the scores, for a large base model
takes its time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import MuseQuestError
from ..core.files import read_remade, write_json
from ..core.json_shapes import Similarity
from ..core.settings import Profile
from ..text.encoder import DECIMALS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# A larger base model is not run on a processor for the sake of one score.
MOST_PARAMETERS_ON_CPU = 1_000_000_000


class BaseModel:
    """Distances of texts as a profile's base model reads them; kept in `path` between runs.

    Making one raises MuseQuestError where the base model cannot be had, or would take hours.
    """

    def __init__(self, profile: Profile, path: Path) -> None:
        from ..finetuning.models import base_fingerprint, default_device

        self.profile, self.path = profile, path
        self.fingerprint = base_fingerprint(profile)
        parameters = 0 if default_device() != "cpu" else count_parameters(profile)
        if parameters > MOST_PARAMETERS_ON_CPU:
            raise MuseQuestError(
                f"the base model '{profile.base_model}' has {parameters / 1e9:.1f} billion "
                "parameters and needs a GPU to read the answers."
            )
        kept = read_remade(path, Similarity)
        # Files from before the dtype was told are of the profile's own.
        read_by = kept.get("base_model_fingerprint"), kept.get("dtype", profile.dtype)
        same = read_by == (self.fingerprint, profile.dtype)
        self.kept: dict[str, float] = kept["distances"] if same else {}
        self.loaded: tuple[PreTrainedModel, Any] | None = None
        self.vectors: dict[str, np.ndarray] = {}  # of ground truths; answers are read once anyway

    def distances(self, truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        """(n,) 1 - cosine of each ground truth and answer, 0 to 2; NaN for a text without tokens.

        A base model that cannot be loaded or runs out of memory raises MuseQuestError, as does a
        value that is not finite although both texts have tokens. What was read is kept even then.
        """
        before = len(self.kept)
        try:
            pairs = zip(truths, answers, strict=True)
            return np.array([self._distance(*pair) for pair in pairs], float)
        except (MemoryError, RuntimeError) as error:  # torch's own kinds are RuntimeErrors
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise MuseQuestError(
                f"the base model '{self.profile.base_model}' could not read the answers "
                f"({reason[0].rstrip('.')}); free memory and evaluate again."
            ) from error
        finally:
            if len(self.kept) > before:
                record = {"base_model_fingerprint": self.fingerprint, "dtype": self.profile.dtype}
                write_json(self.path, record | {"distances": dict(sorted(self.kept.items()))})

    def _distance(self, truth: str, answer: str) -> float:
        if not (truth.strip() and answer.strip()):
            return float("nan")
        key = hashlib.sha256(f"{truth}\0{answer}".encode()).hexdigest()[:32]
        if key not in self.kept:
            if truth not in self.vectors:
                self.vectors[truth] = self._read(truth)
            vector = self.vectors[answer] if answer in self.vectors else self._read(answer)
            cosine = float(self.vectors[truth] @ vector)
            self.kept[key] = round(min(max(1 - cosine, 0.0), 2.0), DECIMALS)
        return self.kept[key]

    def _read(self, text: str) -> np.ndarray:
        """The unit vector of one text: its last hidden states, averaged over its tokens."""
        import torch

        from ..finetuning.anatomy import module_of
        from ..finetuning.models import load_model, load_processor

        if self.loaded is None:
            self.loaded = load_model(self.profile), load_processor(self.profile).tokenizer
        model, tokenizer = self.loaded
        longest = model.config.get_text_config().max_position_embeddings
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=longest).input_ids
        with torch.inference_mode():
            decoder = module_of(model, "decoder")
            read = decoder(input_ids=ids.to(model.device), use_cache=False)
        states = read.last_hidden_state
        mean = states[0].float().mean(dim=0).cpu().numpy().astype(float)
        if not np.isfinite(mean).all():
            raise MuseQuestError(
                f"The base model '{self.profile.base_model}' gave values that are not finite for "
                "the published score; set dtype: float32 in its profile and evaluate again."
            )
        return mean / max(float(np.linalg.norm(mean)), 1e-12)


def count_parameters(profile: Profile) -> int:
    """The parameters of the base model, counted from its configuration without its weights."""
    from ..finetuning.models import of_shape

    return sum(parameter.numel() for parameter in of_shape(profile).parameters())
