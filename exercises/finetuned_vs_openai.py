"""Solutions of 3.1's exercises; they run where the notebook has run."""

# 1
answer_1 = len(tuned["base"])

# 2
answer_2 = summary[results.main_track]["control_changed_numbers"]["number_recall"]["mean"]

# 3
answer_3 = int((results.facts.status == "invented").sum())
