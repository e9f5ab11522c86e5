"""What do all commands about dead letters have in common? The options that say which ones are meant."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from fleet.cli.context import Invocation
from fleet.cli.sending import DurationParam

if TYPE_CHECKING:
    from fleet.letters.select import Selection
    from fleet.ops.letters.access import Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Selecting:
    """Which letters are meant, and who asks."""

    #: names of queues in the fleet file; none means all
    queues: tuple[str, ...]
    ids: tuple[str, ...]
    task: str | None
    reason: str | None
    exception: str | None
    older_than: int | None
    newer_than: int | None
    #: broker user; None means the first operator
    user: str | None

    def selection(self) -> "Selection":
        """Return what a letter must be like."""
        from fleet.letters.select import Selection

        return Selection(
            ids=frozenset(self.ids),
            task=self.task,
            reason=self.reason,
            exception=self.exception,
            older_than_seconds=self.older_than,
            newer_than_seconds=self.newer_than,
        )

    def access(self, invocation: Invocation) -> "Access":
        """Return the way to the dead letters. Raises ConfigError, UsageError, SecretMissing."""
        from fleet.ops.letters.access import access

        return access(invocation.load(), invocation.environ(), queues=self.queues, user=self.user)


def selecting_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select letters, which arrive as one ``selecting``."""

    def with_selecting(*args: Any, **kwargs: Any) -> None:
        chosen = {name: kwargs.pop(name) for name in Selecting.__dataclass_fields__}
        command(*args, selecting=Selecting(**chosen), **kwargs)

    with_selecting.__doc__ = command.__doc__
    with_selecting.__name__ = command.__name__
    with_selecting.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in reversed(_OPTIONS):
        with_selecting = option(with_selecting)
    return with_selecting


_OPTIONS = (
    click.option(
        "--queue", "queues", multiple=True, show_envvar=True, help="Only of this queue; repeatable."
    ),
    click.option("--id", "ids", multiple=True, show_envvar=True, help="Only of this task id; repeatable."),
    click.option("--task", show_envvar=True, help="Only of this task, or of a glob such as 'shop.*'."),
    click.option(
        "--reason", show_envvar=True, help="Only for this reason: rejected, delivery_limit, unknown_task, …"
    ),
    click.option(
        "--exception", show_envvar=True, help="Only ended by this class of error, as the journal has it."
    ),
    click.option(
        "--older-than", type=DurationParam(), show_envvar=True, help="Only there for longer, such as 30d."
    ),
    click.option(
        "--newer-than", type=DurationParam(), show_envvar=True, help="Only there for less, such as 2h."
    ),
    click.option(
        "--user",
        show_envvar=True,
        help="Act as this user of `[broker.users]`.  [default: the first with the role operator]",
    ),
)
