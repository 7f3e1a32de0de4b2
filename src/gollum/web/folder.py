"""The campaigns that are served, by name: no path of a request reaches the file system."""

from __future__ import annotations

import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, TypeVar

from gollum.api import Campaign
from gollum.campaign.state import Logged, State
from gollum.campaign.strict_yaml import YamlFile
from gollum.errors import DataError, UserError
from gollum.report.campaign.status import telling

ENDING = ".gollum"
NAME = re.compile(r"\w[\w .()+-]{0,60}")
KEPT = 16  # campaigns whose state is kept in memory, those that were asked for last

T = TypeVar("T")


class UnknownError(UserError):
    """There is nothing of that name."""


@dataclass(eq=False)
class Snapshot:
    """A campaign at one version, with what was made of it.

    Attributes:
        name: of the campaign.
        campaign: which refuses changes once it is at another version.
        state: what is known.
        log: all events.
    """

    name: str
    campaign: Campaign
    state: State
    log: list[Logged]
    _made: dict[str, Any] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def version(self) -> str:
        """What changes whenever anything does."""
        return self.state.last

    @cached_property
    def telling(self) -> list[str]:
        """The inputs to know an experiment by."""
        return telling(self.state)

    def made(self, what: str, make: Callable[[], T]) -> T:
        """Something that takes a moment to make, made once."""
        with self._lock:
            if what not in self._made:
                self._made[what] = make()
            found: T = self._made[what]
            return found


class Folder:
    """Campaigns in a folder, or the one that was named.

    Args:
        path: a folder, or a campaign's file.

    Raises:
        DataError: there is neither.
    """

    def __init__(self, path: Path) -> None:
        self.alone = None if path.is_dir() else Campaign(path).path
        self.path = path if self.alone is None else path.parent
        self._kept: OrderedDict[str, Snapshot] = OrderedDict()
        self._brief: dict[str, tuple[Campaign, str, Any]] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """The campaigns, in alphabetical order."""
        return sorted(self._files(), key=str.casefold)

    def _files(self) -> dict[str, Path]:
        """The files of the campaigns, by name."""
        files = [self.alone] if self.alone else self.path.glob(f"*{ENDING}")
        return {f.stem: f for f in files if f.stem.isprintable() and f.is_file()}

    def file(self, name: str) -> Path:
        """The file of a campaign that is served.

        Raises:
            UnknownError: there is none of that name.
        """
        found = self._files().get(name)
        if found is None:
            raise UnknownError(f"There is no campaign '{name}' here.")
        return found

    def free(self, name: str) -> Path:
        """The file of a campaign to begin.

        Raises:
            UserError: it can't be called so.
        """
        name = name.strip()
        if self.alone:
            raise UserError(
                "One campaign is served here; `gollum serve FOLDER` lets others begin beside it."
            )
        if not NAME.fullmatch(name) or name.endswith((".", " ")):
            raise UserError(
                "A campaign is called by letters, digits, spaces and . - + ( ) _, up to 60 of "
                f"them, not '{name[:80]}'."
            )
        file = self.path / f"{name}{ENDING}"
        if file.exists():
            raise UserError(f"There is a campaign '{name}' already; take another name.")
        return file

    def version(self, name: str) -> str:
        """The version of a campaign now."""
        kept = self._kept.get(name)
        return (kept.campaign if kept else Campaign(self.file(name))).version()

    def snapshot(self, name: str) -> Snapshot:
        """What a campaign is now.

        Raises:
            UnknownError: there is none of that name.
            DataError: its file can't be read.
        """
        file, kept = self.file(name), self._kept.get(name)
        try:
            if kept is not None and kept.campaign.version() == kept.version:
                with self._lock:
                    if name in self._kept:
                        self._kept.move_to_end(name)
                return kept
        except DataError:  # replaced by another campaign: read below
            pass
        campaign = Campaign(file)
        state, log = campaign.state(), campaign.log()
        found = Snapshot(name, campaign.at(state.last), state, log[: state.sequence])
        with self._lock:
            self._kept[name] = found
            self._kept.move_to_end(name)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def brief(self, name: str, make: Callable[[Snapshot], T]) -> T:
        """Something small of a campaign, which stays in memory for longer than its state does.

        Args:
            name: of the campaign.
            make: always the same.

        Raises:
            UserError: as from `snapshot`.
        """
        known = self._brief.get(name)
        try:
            if known is not None and known[0].version() == known[1]:
                found: T = known[2]
                return found
        except DataError:  # replaced or gone: `snapshot` says so
            pass
        snapshot = self.snapshot(name)
        made = make(snapshot)
        self._brief[name] = snapshot.campaign, snapshot.version, made
        return made


def refuse_table(text: str) -> None:
    """Refuse lists of options that name a file, which would be one of this machine.

    Raises:
        UserError: they do, or are no such lists.
    """
    file = YamlFile(Path("the list"), text)
    if "table" in file.entries(file.root, "the list should begin with 'factors:'"):
        raise UserError("The list names a table; send the table itself instead.")


@contextmanager
def upload(name: str, content: bytes) -> Iterator[Path]:
    """A file with what somebody sent, in a folder of its own that goes when the block ends.

    Args:
        name: as the sender called it; only its last part and harmless characters stay.
        content: of the file.

    Raises:
        UserError: as from the block, without that folder's path in its sentence.
    """
    base = re.sub(r"[^\w .()+-]", "_", PurePath(name.replace("\\", "/")).name).strip(" .")
    with tempfile.TemporaryDirectory(prefix="gollum-") as folder:
        file = Path(folder) / (base[-80:] or "table.csv")
        file.write_bytes(content)
        try:
            yield file
        except UserError as error:
            error.args = tuple(str(a).replace(f"{folder}/", "") for a in error.args)
            raise
