"""A network from a user's own file: `path/to/file.py:build`.

`build` (the name used where none is given) is a function of (input_shape, classes, *, options) that returns a Module, as the
builders of MODELS are; a Module class that is made so; or a Module that is made already. A function of fewer
arguments gets as many as it takes.

The file is the user's own code, and naming its path is what runs it. Weights never do: a run records the file's absolute
path and checksum, and whoever opens the run gets the network from that file, or an error if it is gone or has changed.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlkit.errors import CheckpointError, ConfigError, DlkitError
from dlkit.nn import Module
from dlkit.nn.summary import run_on_shapes
from dlkit.registry import nearest
from dlkit.tensor import Tensor
from dlkit.userfile import import_file, split_target, where_in


def is_user_model(name: str) -> bool:
    """Is this a path and no name of MODELS?"""
    return split_target(name)[0].endswith(".py")


@dataclass(frozen=True)
class UserModel:
    path: Path
    name: str

    @classmethod
    def parse(cls, text: str) -> UserModel:
        path, name = split_target(text)
        return cls(Path(path).absolute(), name or "build")

    @classmethod
    def of(cls, model: str | None) -> UserModel | None:
        """None if `model` is a name of MODELS, or nothing."""
        return cls.parse(model) if model is not None and is_user_model(model) else None

    def __str__(self) -> str:
        return f"{self.path}:{self.name}"

    def text(self) -> str:
        """Raises : ConfigError if the file cannot be read."""
        try:
            return self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path}: cannot be read ({error})") from None

    def checksum(self) -> str:
        return hashlib.sha256(self.text().encode()).hexdigest()

    def require(self, checksum: str) -> None:
        """Raises : CheckpointError if the file is gone or no longer the one with this checksum."""
        try:
            now = self.checksum()
        except ConfigError:
            raise CheckpointError(
                f"{self.path}: the file that builds this run's network is gone; put it back (the run's copy is model.py)"
            ) from None
        if now != checksum:
            raise CheckpointError(
                f"{self.path}: the file that builds this run's network has changed since (sha256 {checksum[:12]} then, "
                f"{now[:12]} now); put back what it was (the run's copy is model.py), or train again"
            )

    def build(self, input_shape: tuple[int, ...], classes: int, options: dict[str, Any]) -> Module:
        """Runs the file and makes the network.  Raises : ConfigError if it raises, or makes something else."""
        module = import_file(self.path)
        if not hasattr(module, self.name):
            raise ConfigError(f"{self.path} holds no {self.name!r}{nearest(self.name, _own_names(module))}")
        thing = getattr(module, self.name)
        if isinstance(thing, Module):
            self._refuse(options, [])
            return thing
        if not callable(thing):
            raise ConfigError(
                f"{self} is {type(thing).__name__}; expected a function (input_shape, classes) or a Module"
            )
        model = self._called(thing, (tuple(input_shape), classes), options)
        if not isinstance(model, Module):
            raise ConfigError(f"{self} returns {type(model).__name__}; expected a Module")
        return model

    def _called(self, make: Callable, arguments: tuple, options: dict[str, Any]) -> Any:
        parameters = list(inspect.signature(make).parameters.values())
        places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] + [p.name for p in places[2:]]
        self._refuse(options, keywords)
        count = 2 if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(places)
        try:
            return make(*arguments[:count], **options)
        except DlkitError as error:
            raise ConfigError(f"{self}: {error}") from None
        except Exception as error:
            raise ConfigError(f"{self} raises {where_in(error, str(self.path))}") from None

    def _refuse(self, options: dict[str, Any], known: list[str]) -> None:
        for option in options:
            if option not in known:
                has = f"its options are {', '.join(known)}" if known else "it has none"
                raise ConfigError(f"{self} has no option {option!r}{nearest(option, known)}; {has}")


def check_classifier(model: Module, input_shape: tuple[int, ...], classes: int, where: str) -> None:
    """Raises : ConfigError unless one example of this shape gives one number for each class; nothing is computed."""
    try:
        y = run_on_shapes(model, input_shape)
    except DlkitError as error:
        raise ConfigError(f"{where}: {error}") from None
    except Exception as error:
        raise ConfigError(f"{where} raises {where_in(error, where.rpartition(':')[0])}") from None
    if not isinstance(y, Tensor) or y.shape != (1, classes):
        shape = f"shape {('N', *y.shape[1:])}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise ConfigError(
            f"{where}: its output has {shape}".replace("'", "") + f"; the data have {classes} classes, (N, {classes})"
        )


def _own_names(module: Any) -> list[str]:
    return [name for name, thing in vars(module).items() if not name.startswith("_") and callable(thing)]
