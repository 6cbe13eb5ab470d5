"""What makes the pages people read: notebooks executed, and what their cells show.

In: the notebooks of the numbered folders. Out: results/<profile>/notebooks/, demo.json and
six.json, the notebooks with their outputs. Start reading at `walks`, which goes through all
`notebooks`; `display` is what their cells show with. The readmes' tables stand beside the records
that they are made of, in benchmarks/tables/.
"""
