"""What does a template say with this context, and if it fails: in which file, on which line?

A mail template NAME is ``NAME.subject.txt`` and ``NAME.txt``, and where they exist ``NAME.html`` (values are
escaped there) and ``NAME.unsubscribe.txt`` (a URL). ``NAME.example.json`` holds a context to try it with.
Files are asked for through ``read``: nothing here touches a disk. Messages never show a value of the context.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound, TemplateSyntaxError, meta
from jinja2 import TemplateError as JinjaError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from fleet.errors import UsageError
from fleet.mail.message import Content
from fleet.mail.names import Part, check_template_name, is_file_name

EXAMPLE_SUFFIX = ".example.json"


REQUIRED_PARTS = (Part.SUBJECT, Part.TEXT)


class BadTemplate(UsageError):
    """A template is missing or does not render; ``file`` and ``line`` say where."""

    def __init__(self, message: str, *, file: str, line: int | None = None, hint: str | None = None) -> None:
        place = file if line is None else f"{file}:{line}"
        super().__init__(f"{place}: {message}", hint=hint)
        self.file = file
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """A directory of templates."""

    #: where the files are, for messages
    directory: str
    #: returns a file's text, or None when there is no file of that name in the directory
    read: Callable[[str], str | None]


class _Loader(BaseLoader):
    def __init__(self, templates: Templates) -> None:
        self._templates = templates

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        del environment
        source = self._templates.read(template) if is_file_name(template) else None
        if source is None:
            raise TemplateNotFound(template)
        return source, f"{self._templates.directory}/{template}", None


def render(templates: Templates, name: str, context: Mapping[str, object]) -> Content:
    """Return what template ``name`` says with ``context``.

    Raises BadTemplate with file and line, UsageError for a bad name.
    """
    check_template_name(name)
    environment = _environment(templates)
    parts = {part: _render_part(environment, templates, name + part, context) for part in Part}
    for part in REQUIRED_PARTS:
        if parts[part] is None:
            raise _missing(templates, name + part)
    unsubscribe = parts[Part.UNSUBSCRIBE]
    return Content(
        subject=(parts[Part.SUBJECT] or "").strip(),
        text=parts[Part.TEXT] or "",
        html=parts[Part.HTML],
        unsubscribe=None if unsubscribe is None else unsubscribe.strip(),
    )


def variables(templates: Templates, name: str) -> tuple[str, ...]:
    """Return the names that template ``name`` expects in its context, sorted; includes are not followed.

    Raises BadTemplate when a required file is missing or does not parse.
    """
    check_template_name(name)
    environment = _environment(templates)
    found: set[str] = set()
    for part in Part:
        file = name + part
        source = templates.read(file)
        if source is None and part in REQUIRED_PARTS:
            raise _missing(templates, file)
        try:
            found |= meta.find_undeclared_variables(environment.parse(source or "", filename=file))
        except TemplateSyntaxError as error:
            raise _located(templates, file, error) from error
    return tuple(sorted(found))


def _environment(templates: Templates) -> Environment:
    return ImmutableSandboxedEnvironment(
        loader=_Loader(templates),
        undefined=StrictUndefined,
        autoescape=lambda name: name is not None and name.endswith(Part.HTML),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )


def _render_part(
    environment: Environment, templates: Templates, file: str, context: Mapping[str, object]
) -> str | None:
    if templates.read(file) is None:
        return None
    try:
        return environment.get_template(file).render(context)
    except Exception as error:  # noqa: BLE001 - a template's expressions may raise anything
        raise _located(templates, file, error) from None


def _missing(templates: Templates, file: str) -> BadTemplate:
    return BadTemplate(
        "there is no such file",
        file=f"{templates.directory}/{file}",
        hint="every template needs NAME.subject.txt and NAME.txt; `fleet mail check` lists what is there",
    )


def _located(templates: Templates, file: str, error: Exception) -> BadTemplate:
    if isinstance(error, TemplateSyntaxError):
        at, hint = f"{templates.directory}/{error.name or file}", "`fleet mail check` parses every template"
        return BadTemplate(error.message or "syntax error", file=at, line=error.lineno, hint=hint)
    place = _place(error.__traceback__, templates.directory) or (f"{templates.directory}/{file}", None)
    hint = "`fleet mail check` lists what each template expects in its context"
    return BadTemplate(_reason(error), file=place[0], line=place[1], hint=hint)


def _reason(error: Exception) -> str:
    if isinstance(error, TemplateNotFound):
        return f"there is no file `{error.name}` to include"
    if isinstance(error, JinjaError):
        return error.message or type(error).__name__
    # The text of any other error may quote a value of the context.
    return f"an expression failed with {type(error).__name__}"


def _place(trace: TracebackType | None, directory: str) -> tuple[str, int | None] | None:
    """Return file and line of the innermost template in ``trace``; Jinja shows templates as frames."""
    found = None
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(f"{directory}/"):
            found = (file, trace.tb_lineno)
        trace = trace.tb_next
    return found
