"""What a text says, read without a model: its numbers, its names, the exhibits it claims to see.

    from musequest.text.facts import check_numbers
    check_numbers("Cast in 1712.", "Cast in 1711.").invented    # ("1712",)

`numbers` finds what a text states, made of `numerals` and held against one another as
`quantities`; `names` finds proper names, `titles` the exhibits that an answer claims. `facts` tells
of an answer which of its facts are recalled, known or invented. `encoder` is the one model here:
sentences as vectors.
"""
