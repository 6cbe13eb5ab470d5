"""What a text says, read without a model: its numbers, its names, the exhibits it claims to see.

    from musequest.text.facts import check_numbers
    check_numbers("Cast in 1712.", "Cast in 1711.").invented    # ("1712",)

`numbers` finds the `quantities` that a text states; `facts` tells of an answer which of its numbers
and names are recalled, known or invented; `titles` finds the exhibits that it claims. `encoder` is
the one model here: sentences as vectors.
"""
