"""What a text says, read without a model: its sentences, numbers, names, the exhibits it claims.

    from musequest.text.facts import check_numbers
    check_numbers("Cast in 1712.", "Cast in 1711.").invented    # ("1712",)

`sentences` parts a text, tells its language and what none may hold; `numbers` finds the
`quantities` that a text states; `facts` tells of an answer which of its numbers and names are
recalled, known or invented, `claims` which properties it has right; `titles` finds the exhibits
that it claims. `encoder` is the one model here: sentences as vectors.
"""
