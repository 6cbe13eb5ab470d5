"""Solutions of 2.1's exercises; they run where the notebook has run."""

# 1
answer_1 = run["best_step"]

# 2
answer_2 = run["steps"] * run["global_batch"]["rows_a_step"]

# 3
answer_3 = round(100 * run["trainable_parameters"] / run["total_parameters"], 1)
