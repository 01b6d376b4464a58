"""The command line.

Covers the commands (``app``, ``k8s``), their options (``options``, ``arguments``) and what they say
(``telling``). Does not cover any work: each command is one call of the library. Importing it
imports click and nothing heavier: ``daskcast --help`` answers at once.
"""

from daskcast.cli.app import main
from daskcast.cli.k8s import k8s as _k8s

__all__ = ["main"]

main.add_command(_k8s)
