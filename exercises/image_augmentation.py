"""Solutions of 1.2's exercises; they run where the notebook has run."""

# 1
answer_1 = int(photos.augmented.sum())

# 2
answer_2 = int((display.photo_counts(photos)["real"] == 1).sum())

# 3
answer_3 = int(photos[photos.augmented].source_photo.nunique())
