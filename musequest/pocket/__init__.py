"""The pocket museum and the pocket docent: how the embedded default is made.

Nothing in the three stages imports from here; the museum's photos and the docent's weights lie
in `assets/`. These modules make them again: `shapes` and `objects` model things as meshes,
`rendering` photographs them, `museum` photographs the exhibits, `outsiders`
photographs things that are not in it, `scenes`, `english` and `corpus` make what the docent is
pre-trained on, `docent` lays out its architecture, `pretraining` trains it with the means of
`looker`, and `proof` measures what it sees.
"""
