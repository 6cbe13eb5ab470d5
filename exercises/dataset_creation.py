"""Solutions of 1.4's exercises; they run where the notebook has run."""

# 1
answer_1 = len(load_split(settings.collection, "train"))

# 2
answer_2 = list(load_split(settings.collection, "test")["track"]).count("seen_photo")

# 3
answer_3 = sorted(set(load_split(settings.collection, "test")["temperature"]))
