"""The command line.

Covers the commands (``app``), their options (``options``) and what they say (``telling``). Does not
cover any work: each command is one call of the library. Importing it imports click and nothing
heavier: ``daskcast --help`` answers at once.
"""

from daskcast.cli.app import main

__all__ = ["main"]
