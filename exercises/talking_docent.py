"""Solutions of 3.3's exercises; they run where the notebook has run."""

# 1
answer_1 = answer.recognition.item_name

# 2
answer_2 = sum(sentence.source is not None for sentence in answer.sentences)

# 3
answer_3 = round(unknown.recognition.confidence, 3)
