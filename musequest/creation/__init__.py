"""Stage 1: from a museum's photos and texts to a dataset of visual questions and answers."""
