"""Options as the arguments they would be given by: for a command that is run elsewhere.

Covers writing them. Does not cover reading them (``options``).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from daskcast.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daskcast.config import ForecastConfig, RunOptions

_SAID_APART = {
    *("cluster", "kubernetes", "out", "resume", "resume_if_begun", "retry_failed"),
}


def arguments(command: click.Command, values: Mapping[str, Any]) -> list[str]:
    """Write values as arguments of a command.

    Parameters
    ----------
    command : click.Command
        Names that it has no option for are left out.
    values : mapping
        By the names of the options; None, empty and false ones are left out, but for a flag that
        can be said no to.
    """
    found: list[str] = []
    for param in command.params:
        if isinstance(param, click.Option) and param.name in values:
            found += _written(param, values[param.name])
    return found


def run_arguments(
    command: click.Command, config: ForecastConfig, options: RunOptions
) -> tuple[str, ...]:
    """Write all options that differ from what they are without being said.

    Where and how the cluster is, and the run folder, are left out.

    Parameters
    ----------
    command : click.Command
        ``daskcast run``.
    config : ForecastConfig
    options : RunOptions

    Raises
    ------
    ConfigError
        Where a model is no name: only a call can be given an object.
    """
    if objects := [model for model in config.models if not isinstance(model, str)]:
        raise ConfigError(f"models must be names, to be given to a pod; found {objects!r}")
    said = {**_differing(config), **_differing(options), "h": config.h}
    return tuple(arguments(command, {k: v for k, v in said.items() if k not in _SAID_APART}))


def _differing(options: Any) -> dict[str, Any]:
    return {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if getattr(options, field.name) != field.default
    }


def _written(option: click.Option, value: Any) -> list[str]:
    if value is None:
        return []
    if option.is_flag:
        names = option.opts if value else option.secondary_opts
        return list(names[:1])
    if option.multiple:
        pairs = value.items() if hasattr(value, "items") else value
        return [word for one in pairs for word in (option.opts[0], _word(one, "="))]
    return [option.opts[0], _word(value, ",")]


def _word(value: Any, between: str) -> str:
    if isinstance(value, tuple | list):
        return between.join(_word(part, between) for part in value)
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)
