"""What makes the pages people read: notebooks executed, what they show, the readmes' tables.

In: the notebooks of the numbered folders, benchmarks/records/. Out: results/<profile>/notebooks/,
demo.json and six.json, the notebooks with their outputs, the readmes with their figures. Start
reading at `walks`, which goes through all `notebooks`; `display` is what their cells show with,
`readme_tables` and the other modules of tables write the figures of the readmes.
"""
