"""How are the changes of a plan made, one after the other, and remembered?"""

import tarfile
from collections.abc import Callable
from typing import IO, Any

from provisioning.hosts.agent import files, trees
from provisioning.hosts.agent.keeping import Audit, about_to_start, locked, write_manifest
from provisioning.hosts.agent.look import fingerprint, look
from provisioning.hosts.agent.places import Places, Refused, told
from provisioning.hosts.agent.systemd import Systemd, is_unit_file
from provisioning.hosts.agent.users import put_user

Say = Callable[[dict[str, Any]], None]


class Contents:
    """What comes along with the changes, in their order, as one tar stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._archive: tarfile.TarFile | None = None

    def take(self, index: int) -> IO[bytes]:
        """Return the content for the change of this index."""
        try:
            # Opened late: opening reads the first header, and a plan may have no content.
            if self._archive is None:
                self._archive = tarfile.open(fileobj=self._stream, mode="r|")  # noqa: SIM115 - lives as long
            member = self._archive.next()
            content = self._archive.extractfile(member) if member and member.name == str(index) else None
        except tarfile.TarError as error:
            raise Refused("the contents did not arrive whole") from error
        if content is None:
            raise Refused("the contents did not arrive whole")
        return content


class Apply:
    """One apply: what it was asked for, and what is ours while it goes on."""

    def __init__(self, places: Places, request: dict[str, Any], contents: Contents) -> None:
        self._places = places
        self._request = request
        self._contents = contents
        self._systemd = Systemd()
        self._manifest: dict[str, Any] = {}
        #: unit → which run of it was seen
        self._runs: dict[str, str] = {}

    def run(self, say: Say) -> None:
        """Make the changes; raises Refused before the first if somebody is at it or the host has moved."""
        with locked(self._places, self._request["who"], self._request["reason"]):
            seen = look(self._places, self._request["asked"])
            if fingerprint(seen) != self._request["fingerprint"]:
                raise Refused("the host changed after the plan was made", why="moved", seen=seen)
            self._manifest = self._intended(seen)
            self._runs = {name: unit["run"] for name, unit in seen["units"].items()}
            audit = Audit(self._places)
            self._keep()
            trees.clear_leftovers(self._places, {*seen["manifest"]["paths"], *self._manifest["paths"]})
            done, failure = self._make_all(say)
            failure = self._remember(failure)
            audit.append(self._entry(done, failure))
            say({"event": "end", "done": done, "failure": failure, "seen": self._after()})

    def _after(self) -> dict[str, Any] | None:
        """Return what stands there now; None where that cannot be told."""
        try:
            return look(self._places, self._request["asked"])
        except (Refused, OSError):
            return None

    def _make_all(self, say: Say) -> tuple[int, str | None]:
        changes = self._request["changes"]
        for index, change in enumerate(changes):
            try:
                kept = self._make(index, change)
                say({"event": "done", "index": index, "kept": kept})
            except Refused as error:
                return index, str(error)
            except tarfile.TarError:
                return index, "its content did not arrive whole"
            except OSError as error:
                return index, told(error)
        return len(changes), self._told_systemd()

    def _told_systemd(self) -> str | None:
        touched = [c["path"] for c in self._request["changes"] if "path" in c and is_unit_file(c["path"])]
        try:
            if touched:
                self._systemd.refresh()
        except Refused as error:
            return str(error)
        return None

    def _make(self, index: int, change: dict[str, Any]) -> str | None:
        """Make one change; returns why something was kept that should go."""
        if is_unit_file(change.get("path", "")):
            self._systemd.is_stale = True
        match change["do"]:
            case "user":
                put_user(change)
            case "directory":
                files.put_directory(self._places, change)
            case "file":
                content = self._contents.take(index) if change["content"] else None
                files.put_file(self._places, change, content)
            case "link":
                files.put_link(self._places, change)
            case "tree":
                self._put_tree(index, change)
            case "unit":
                self._put_unit(change)
            case _:
                return self._delete(change)
        return None

    def _put_tree(self, index: int, change: dict[str, Any]) -> None:
        stamp = trees.put_tree(self._places, change, self._contents.take(index))
        self._manifest["paths"][change["path"]].update(sha256=change["sha256"], stamp=stamp)
        # At once: a tree whose stamp is not known would have to come again.
        self._keep()

    def _put_unit(self, change: dict[str, Any]) -> None:
        name, restart_on, units = change["name"], change["restart_on"], self._manifest["units"]
        if restart_on:
            units[name] = about_to_start(units[name], run=self._runs.get(name, ""), restart_on=restart_on)
            self._keep()
        self._systemd.put(change)
        units[name] = {"restart_on": restart_on}

    def _keep(self) -> None:
        write_manifest(self._places, self._request["asked"]["owner"], self._manifest)

    def _delete(self, change: dict[str, Any]) -> str | None:
        if change["do"] == "delete unit":
            self._systemd.delete(change["name"])
            self._manifest["units"].pop(change["name"], None)
            return None
        kept = None
        if change["do"] == "delete tree":
            trees.delete_tree(self._places, change)
        else:
            kept = files.delete(self._places, change)
        self._manifest["paths"].pop(change["path"], None)
        return kept

    def _intended(self, seen: dict[str, Any]) -> dict[str, Any]:
        """Return what is ours or about to be, so that what a crash leaves behind is known for ours.

        What was secret stays so until its file is another one.
        """
        known, declared = seen["manifest"], self._request["declared"]
        paths = {path: entry for path, entry in known["paths"].items() if path in seen["paths"]}
        for path, entry in declared["paths"].items():
            before = known["paths"].get(path, {})
            keep = before if before.get("kind") == entry["kind"] else {}
            paths[path] = {**keep, **entry, "secret": entry["secret"] or before.get("secret", False)}
        units = {
            name: {"restart_on": unit["restart_on"]}
            for name, unit in seen["units"].items()
            if name in known["units"]
        }
        for name in declared["units"]:
            units[name] = {"restart_on": seen["units"].get(name, {}).get("restart_on", "")}
        return {"paths": paths, "units": units}

    def _remember(self, failure: str | None) -> str | None:
        """Keep what is ours now; returns why not all is as asked."""
        if failure is None:
            for path, entry in self._request["declared"]["paths"].items():
                self._manifest["paths"][path].update(entry)
        try:
            self._keep()
        except OSError as error:
            return failure or told(error)
        return failure

    def _entry(self, done: int, failure: str | None) -> dict[str, Any]:
        titles = [change["title"] for change in self._request["changes"]]
        failed = titles[done] if failure is not None and done < len(titles) else None
        asked = self._request
        return {
            "who": asked["who"],
            "origin": asked["origin"],
            "reason": asked["reason"],
            "done": titles[:done],
            "failed": failed,
        }
