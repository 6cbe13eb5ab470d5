"""Solutions of 1.3's exercises; they run where the notebook has run."""

# 1
answer_1 = len(dialogs)

# 2
answer_2 = int(dialogs.question.nunique())

# 3
answer_3 = int(dialogs.answer.str.split().str.len().max())
