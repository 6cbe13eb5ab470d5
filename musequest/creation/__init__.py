"""Stage 1, synthetic data creation: exhibits become photos, dialogs and a dataset of three splits.

In the order of a run: `exhibits` reads and checks a museum's folder, `museums` fills one from the
internet, `augmentation` fills photos up to 15 an exhibit, `dialogs` has a writer (`offline_writer`,
or `hosted`) compose 15 pairs an exhibit, `dataset` joins both by the rule of `split`, `audit` looks
for leaks, `card` tells what came of it, `publishing` hands it on. `imported` takes in a dataset
made elsewhere; `chosen` does what a profile says, `commands` what was typed.
"""
