"""The command line: a module a stage, whose functions are the commands.

Each adds its commands to the parser of `musequest.__main__`; `options` holds what they share, and
how they end. A command imports what it needs when it runs, so `musequest --help` waits for nothing.
"""
