"""A rotation in a world of its own, cut off anywhere: the next run finishes, and nobody is ever refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.accounts import MARK, Slotted, account, accounts_wanted, declared_name, other
from fleet.errors import PartlyDone
from fleet.ops.rotate.run import Patience, Rotated, Still, rotate
from fleet.rotation import Standing, Step, next_step
from fleet.secrets import Secret

HOSTS = ("alpha", "beta", "gamma")


class Killed(Exception):
    """The process ends here."""


@dataclass
class World:
    """One password in secrets, broker, on hosts and in applications; each change may be the last."""

    kept: Slotted
    broker: dict[str, str] = field(default_factory=dict)
    hosts: dict[str, Slotted] = field(default_factory=dict)
    #: old instances that have not ended yet, by host
    ending: dict[str, Slotted] = field(default_factory=dict)
    #: applications that are connected, by name
    applications: dict[str, Slotted] = field(default_factory=dict)
    prepared: Slotted | None = None
    #: rights of each user; a user without them is refused the vhost
    rights: set[str] = field(default_factory=set)
    #: changes after which the process is killed; None for never
    lives: int | None = None
    number: int = 0
    now: float = 0.0
    is_refused_somewhere: bool = False

    @classmethod
    def at_rest(cls, slot: str) -> "World":
        first = Slotted(slot=slot, secret=Secret("first"))
        name = account("celery", slot)
        return cls(kept=first, broker={name: "first"}, rights={name}, hosts=dict.fromkeys(HOSTS, first))

    def changed(self) -> None:
        """Check that nobody is refused, and end here if that is how it goes."""
        for held in (self.kept, *self.hosts.values(), *self.ending.values(), *self.applications.values()):
            name = account("celery", held.slot)
            assert self.broker.get(name) == held.secret.reveal(), f"{name} is refused"
            assert name in self.rights
        if self.lives is not None:
            if self.lives == 0:
                raise Killed
            self.lives -= 1

    @property
    def left_over(self) -> str:
        return account("celery", other(self.kept.slot))

    def look(self) -> Mapping[str, Standing]:
        new = self.prepared
        is_there = self.left_over in self.broker
        complete = (
            new is not None
            and self.broker.get(self.left_over) == new.secret.reveal()
            and self.left_over in self.rights
        )
        return {"celery": Standing(is_prepared=new is not None, is_there=is_there, is_complete=complete)}

    def prepare(self, names: Sequence[str]) -> None:
        self.number += 1
        self.prepared = Slotted(slot=other(self.kept.slot), secret=Secret(f"new-{self.number}"))
        self.changed()

    def create(self, names: Sequence[str]) -> None:
        assert self.prepared is not None
        self.broker[self.left_over] = self.prepared.secret.reveal()
        self.changed()
        self.rights.add(self.left_over)
        self.changed()

    def prove(self, names: Sequence[str]) -> None:
        assert self.prepared is not None
        assert self.broker[self.left_over] == self.prepared.secret.reveal()
        assert self.left_over in self.rights
        if self.is_refused_somewhere:
            raise PartlyDone("a node has not heard of the user")

    def switch(self, names: Sequence[str]) -> None:
        assert self.prepared is not None
        self.kept, self.prepared = self.prepared, None
        self.changed()

    def roll(self, names: Sequence[str]) -> tuple[Still, ...]:
        for host, held in self.hosts.items():
            if held != self.kept:
                self.ending[host], self.hosts[host] = held, self.kept
                self.changed()
        return ()

    def connected(self, names: Sequence[str]) -> tuple[Still, ...]:
        left = {**self.ending, **self.applications}
        return tuple(
            Still(user=self.left_over, who=who, where=who)
            for who, held in left.items()
            if account("celery", held.slot) == self.left_over
        )

    def settle(self, names: Sequence[str]) -> tuple[Still, ...]:
        return tuple(
            Still(user="", who=host, where="ending")
            for host in self.hosts
            if self.hosts[host] != self.kept or host in self.ending
        )

    def delete(self, names: Sequence[str]) -> None:
        del self.broker[self.left_over]
        self.rights.discard(self.left_over)
        self.changed()

    def pause(self, seconds: float) -> None:
        """Let time pass: what ends comes to its end, and applications get the present password."""
        self.now += seconds
        if self.now > 20:
            self.ending.clear()
        if self.now > 40:
            self.applications = dict.fromkeys(self.applications, self.kept)

    def run(self, *, wait: float = 100.0, keep: bool = False) -> Rotated:
        patience = Patience(wait_seconds=wait, clock=lambda: self.now, pause=self.pause)
        return rotate(self, patience=patience, keep=keep)


@given(
    slot=st.sampled_from("ab"),
    lives=st.lists(st.integers(0, 12), max_size=4),
    applications=st.integers(0, 2),
)
def test_however_often_it_is_cut_off_the_next_run_finishes_and_nobody_is_refused(
    slot: str, lives: list[int], applications: int
) -> None:
    cut_off_and_finish(slot, lives, applications)


@pytest.mark.parametrize("lives", range(9))
def test_cut_off_after_any_change_the_next_run_finishes_and_nobody_is_refused(lives: int) -> None:
    cut_off_and_finish("a", [lives], 1)


def cut_off_and_finish(slot: str, lives: list[int], applications: int) -> None:
    world = World.at_rest(slot)
    world.applications = {f"shop-{number}": world.kept for number in range(applications)}
    first = world.kept
    for each in lives:
        world.lives = each
        try:
            world.run()
        except Killed:
            world.ending.clear()
    world.lives = None
    finished = world.run()
    assert finished.done == ("celery",)
    assert world.look() == {"celery": Standing()}
    assert set(world.broker) == {account("celery", world.kept.slot)} == world.rights
    assert set(world.hosts.values()) == {world.kept}
    assert world.kept != first


def test_without_an_interruption_each_password_is_rotated_once() -> None:
    world = World.at_rest("a")
    assert world.run().done == ("celery",)
    assert (world.number, set(world.broker)) == (1, {"celery+b"})


def test_a_login_that_a_node_refuses_is_given_to_nobody_until_it_works() -> None:
    world = World.at_rest("a")
    first, world.is_refused_somewhere = world.kept, True
    for _ in range(2):
        with pytest.raises(PartlyDone):
            world.run()
        assert {world.kept, *world.hosts.values()} == {first}
        assert set(world.broker) == {"celery", "celery+b"}
    world.is_refused_somewhere = False
    assert world.run().done == ("celery",)
    assert (world.number, set(world.hosts.values())) == (1, {world.kept})


def test_who_is_still_connected_is_told_and_nothing_is_deleted() -> None:
    world = World.at_rest("a")
    world.applications["shop"] = world.kept
    late = world.run(wait=10)
    assert {still.who for still in late.left} >= {"shop"}
    assert set(world.broker) == {"celery", "celery+b"}


def test_a_host_that_still_ends_an_old_instance_is_waited_for_although_it_is_not_connected() -> None:
    world = World.at_rest("a")
    world.run(keep=True)
    world.connected = lambda names: ()  # type: ignore[method-assign]  # its connection was cut a moment ago
    late = world.run(wait=10)
    assert {still.who for still in late.left} == set(HOSTS)
    assert world.run().done == ("celery",)


def test_a_run_that_finds_a_rotation_under_way_begins_no_other() -> None:
    standings = {"celery": Standing(is_there=True), "shop": Standing()}
    assert next_step(standings, begin=False) == (Step.FINISH, ("celery",))


def test_several_passwords_go_step_by_step_together() -> None:
    standings = {"celery": Standing(is_prepared=True), "shop": Standing(is_there=True)}
    assert next_step(standings, begin=False) == (Step.CREATE, ("celery",))
    standings["celery"] = Standing(is_there=True)
    assert next_step(standings, begin=False) == (Step.FINISH, ("celery", "shop"))


def test_what_is_kept_says_whose_password_it_is() -> None:
    plain, marked = Slotted.read(Secret("p")), Slotted.read(Secret(f"{MARK}p"))
    assert (plain.slot, plain.kept()) == ("a", Secret("p"))
    assert (marked.slot, marked.secret, marked.kept()) == ("b", Secret("p"), Secret(f"{MARK}p"))
    assert [account("celery", slot) for slot in "ab"] == ["celery", "celery+b"]
    assert declared_name("celery+b") == "celery" == declared_name("celery")


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        (set(), ("celery+b",)),
        ({"celery+b"}, ("celery+b",)),
        ({"celery", "celery+b", "shop"}, ("celery+b", "celery")),
    ],
)
def test_the_other_user_is_declared_for_as_long_as_it_is_there(
    there: set[str], wanted: tuple[str, ...]
) -> None:
    assert accounts_wanted({"celery": "b"}, there) == {"celery": wanted}
