"""Solutions of 3.2's exercises; they run where the notebook has run."""

# 1
answer_1 = int((quoted.retrieved_item_name != quoted.item_name).sum())

# 2
answer_2 = int(quoted.answer.nunique())

# 3
answer_3 = summary[results.main_track]["retrieval"]["identity_at_1"]["mean"]
