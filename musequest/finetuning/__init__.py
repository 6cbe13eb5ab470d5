"""Stage 2: one base model, one training path, approaches that differ by configuration only."""
