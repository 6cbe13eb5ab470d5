"""What all packages stand on: places, files, tables, settings, errors, commands.

`home` says where things lie, `tables` which columns a file has, `files` writes whole or not at all,
`settings` reads profiles and approaches by the rules of `keys` and `training_arguments`, `errors`
makes one sentence of what went wrong, and `command_line` how a command is declared and ends.
`photos`, `hub`, `languages`, `predictions` and `json_shapes` each know one kind of thing from
outside. Nothing here knows a stage. Start with `home`, then `settings`.
"""
