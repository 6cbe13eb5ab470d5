"""Solutions of 1.1's exercises; they run where the notebook has run."""

# 1
answer_1 = len(exhibits)

# 2
answer_2 = sum(len(exhibit.photos) for exhibit in exhibits)

# 3
lengths = {exhibit.item_name: len(exhibit.description) for exhibit in exhibits}
answer_3 = max(lengths, key=lengths.get)
