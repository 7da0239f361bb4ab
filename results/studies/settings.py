"""YAML files of settings that a user may read, copy and change, checked when they are read."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from results.files import WorkspaceError


class Settings(BaseModel):
    """Settings that refuse a key they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Kind = TypeVar("Kind")


def read_settings(path: Path, kind: type[Kind]) -> Kind:
    """The content of `path` as `kind`.

    Raises:
        WorkspaceError: the file is missing, is no YAML, or has a value that is not allowed; the message says where.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TypeAdapter(kind).validate_python(content)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise WorkspaceError(f"{path}: cannot be read ({reason})") from None
    except yaml.YAMLError as error:
        raise WorkspaceError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    except ValidationError as error:
        raise WorkspaceError("\n".join(f"{path}: {line}" for line in _mistakes(error))) from None


def _mistakes(error: ValidationError) -> list[str]:
    return [f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in error.errors()]
