"""Which template files are in the directory?"""

from pathlib import Path

from fleet.errors import UsageError
from fleet.mail.names import Part, is_file_name
from fleet.mail.templates import EXAMPLE_SUFFIX, Templates

MAX_FILE_BYTES = 1_000_000


def open_templates(directory: str) -> Templates:
    """Return the templates in ``directory``, read when they are asked for.

    Raises UsageError when there is no such directory.
    """
    path = Path(directory)
    if not path.is_dir():
        raise UsageError(
            f"the directory of mail templates `{directory}` does not exist",
            hint="see `templates` of [mail] in the fleet file",
        )
    return Templates(directory=directory.rstrip("/"), read=lambda name: read_file(path, name))


def template_names(directory: str) -> tuple[str, ...]:
    """Return the names of the templates in ``directory``, sorted; one file of a template is enough."""
    open_templates(directory)
    # The longest suffix first: ``x.subject.txt`` is no text of a template ``x.subject``.
    suffixes = sorted((*Part, EXAMPLE_SUFFIX), key=len, reverse=True)
    names: set[str] = set()
    for path in Path(directory).iterdir():
        suffix = next((suffix for suffix in suffixes if path.name.endswith(suffix)), None)
        if suffix is not None and not path.name.startswith((".", "_")):
            names.add(path.name.removesuffix(suffix))
    return tuple(sorted(names))


def read_file(directory: Path, name: str) -> str | None:
    """Return the text of file ``name`` in ``directory``, or None when there is none.

    Raises UsageError when it cannot be read as UTF-8 text.
    """
    path = directory / name
    if not is_file_name(name) or not path.is_file():
        return None
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{path} is larger than {MAX_FILE_BYTES} bytes", hint="is it a mail template?")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{path} cannot be read: {reason}", hint=f"check `ls -l -- {path}`") from error
