"""Stage 1, synthetic data creation: exhibits become photos, dialogs and a dataset of three splits.

In the order of a run: `exhibits` reads and checks a museum, `augmentation` fills its photos up to
15 an exhibit, `dialogs` has a writer (`offline_writer`, or `hosted`) compose 15 pairs an
exhibit, `dataset` joins both by the rule of `split` and adds a `card`, `audit` looks for leaks.
"""
