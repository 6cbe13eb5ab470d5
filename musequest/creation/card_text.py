"""What every dataset card says, with the places that `card` fills from the data."""

CARD = """---
{head}---

# {collection}

Photos of {exhibits} exhibits with visitors' questions and a docent's answers, made by MuseQuest.
Each exhibit has 15 rows; {photos} photos are real, the others augmented copies of them.

| split | rows |
|---|---|
{splits}

## Columns

- `image`: the photo; `image_name` and `data_id` name photo and row, `item_name` the exhibit.
- `dialog`: JSON, `{{"messages": [user: image and question, assistant: answer]}}`.
- `source_photo`: the photo a copy was made from (a real photo names itself); `augmented`: whether
  it is one.
- `temperature`: at which the pair was written; the lowest is the most complete in facts, and none
  is given where the model chose its own.
- `track`: on test rows, `unseen_photo`, or `seen_photo` where training has copies of that photo.

## The split

Test holds real photos and lowest-temperature pairs, and so does validation as far as they go;
training holds the rest. A test photo of the track `unseen_photo` is never the parent of a training
photo. Report scores by track.

## Sources and rights

{sources}

Of the texts:

{texts}

Of the photos, each of which stands with its licence, credit line, record and source in
[credits.csv](credits.csv) under its `image_name`:

{rights}

## Dialogs

{languages}

{dialogs}

`provenance.csv` holds for each row who wrote its pair, at which temperature, from which prompt, in
which response, and at what cost.

## Audit

{audit}

## Limits

The answers repeat what the museum's texts say; they are as right as these are. They were not
checked one by one: where a language model wrote them, only their numbers were held against the
texts. A docent that learned them answers about these exhibits alone, and from memory.
"""

NOT_AUDITED = "- not made yet of this state of the dataset"
