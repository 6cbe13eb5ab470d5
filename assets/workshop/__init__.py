"""The pocket museum and the pocket docent: how the embedded default is made.

MuseQuest itself imports nothing from here; the museum's photos and the docent's weights lie in
`assets/`. These modules make them again: `shapes` and `objects` model things as meshes,
`rendering` photographs them, `museum` photographs the exhibits, `outsiders`
photographs things that are not in it, `scenes`, `english` and `corpus` make what the docent is
pre-trained on, `docent` lays out its architecture, `pretraining` trains it with the means of
`vision_pretraining`, `measures` looks at what it sees, and `make_docent` does all three.
"""
