"""What a person does to a library by hand, with an editor and the commands of a shell; memosync is told nothing."""

from __future__ import annotations

import os
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import tomli

from memosync.audio import webm
from memosync.doctor.rebuild import rebuild
from memosync.library import group, keys, known
from memosync.library.store import Library
from memosync.memo import MemoId, Words
from memosync.sealing import group_of
from memosync.stop import Stop

from .sounds import heard
from .wires import SILENT, Wires
from .witness import FIELDS, RENAMED, Device, Shown, Value

SECRETS = [b"", bytes(range(32)), bytes(range(1, 33))]  # of the groups; in the end all are in the first
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Hands(Wires):
    """Devices whose owners do things by hand; and what is chosen for it, or for any other act."""

    def __init__(self, seed: int, place: Path) -> None:
        super().__init__(seed, place)
        self.chosen: tuple[int, str] | None = None  # the sound, and which of its words, that is taken next

    def choose(self, device: Device, trashed: bool = False, here: bool | None = None) -> tuple[int, Shown] | None:
        found = [
            (number, memo)
            for number, memo in sorted(self.shown(device).items(), key=str)
            if isinstance(number, int)
            and bool(memo.trashed) == trashed
            and here in (None, device.ear(memo.file) is not None)
        ]
        if found and self.random.random() < 0.6:
            return min(found, key=lambda each: each[0])  # what everybody works at
        return self.random.choice(found) if found else None

    def word(self, name: str) -> str:
        number = next(self.words)
        return (EPOCH + timedelta(minutes=number)).isoformat() if name == "recorded" else f"{name} {number}"

    def wanted(self, device: Device, number: int) -> None:
        """Once it is acknowledged, a sound is to be here that came as a file, whatever was before."""
        before = self.made.get(number, False)
        self.made.setdefault(number, False)
        self.pending.append(lambda acknowledged: self.made.update({number: acknowledged or before}))
        was_destroyed = number in self.destroyed
        self.pending.append(
            lambda acknowledged: self.destroyed.discard(number) if acknowledged and was_destroyed else None
        )
        self.undo_trashings(device, number)
        device.fetched.add(number)
        device.by_link |= {(number, name) for name in FIELDS}

    def edit_by_hand(self, device: Device) -> str:
        if not (found := self.choose(device)):
            return "refused: nothing there"
        number, memo = found
        name = self.random.choice(("title", *FIELDS))
        text, path = self.word(name), device.root / "index.toml"
        index, before = path.read_text(), path.stat().st_mtime_ns
        old = {line.partition(" = ")[0]: line for line in self.entry(index, memo.id).splitlines()}
        if "title" not in old or not index.endswith("\n"):
            return "refused: cannot find it"
        self.typed(device, number, name, text, getattr(memo, name), by_hand=True)
        device.by_hand[number, name] = text
        line = f"{name} = " + (text.replace("T", " ") if name == "recorded" else f'"{text}"')
        entry = self.entry(index, memo.id)
        new = entry.replace(old[name], line) if name in old else entry.replace(old["title"], f"{old['title']}\n{line}")
        self.save(device, index.replace(entry, new), before)
        return f"{name} of sound {number}: {getattr(memo, name)!r} -> {text!r}"

    def tag_by_hand(self, device: Device) -> str:
        """Add a tag in the index, or take one away."""
        if not (found := self.choose(device)):
            return "refused: nothing there"
        number, memo = found
        path = device.root / "index.toml"
        index, before = path.read_text(), path.stat().st_mtime_ns
        entry = self.entry(index, memo.id)
        if "\ntitle = " not in entry or not index.endswith("\n"):
            return "refused: cannot find it"
        if taken := memo.tags and self.random.random() < 0.4:
            tag, text, was = self.random.choice(sorted(memo.tags)), "taken away", "there"
        else:
            tag, text, was = f"tag{next(self.words)}", "there", None
        tags = sorted(memo.tags - {tag} if taken else memo.tags | {tag})
        self.typed(device, number, f"tag {tag}", text, was, by_hand=True)
        device.by_hand[number, f"tag {tag}"] = text
        without = re.sub(r"^tags = \[[^]]*\]\n", "", entry, flags=re.MULTILINE)
        new = re.sub(r"^(title = .*\n)", rf"\1tags = {tags}\n", without, flags=re.MULTILINE)
        self.save(device, index.replace(entry, new), before)
        return f"{tag} of sound {number} {text}"

    def bring_back_by_hand(self, device: Device) -> str:
        """Take out of the index that something is in the trash."""
        if not (found := self.choose(device, trashed=True, here=True)):
            return "refused: nothing there"
        number, memo = found
        path = device.root / "index.toml"
        index, before = path.read_text(), path.stat().st_mtime_ns
        entry = self.entry(index, memo.id)
        if "\ntrashed = " not in entry or self.is_spare(number, memo):
            return "refused: cannot find it"
        self.undo_trashings(device, number)
        self.save(device, index.replace(entry, re.sub(r"\ntrashed = .*", "", entry)), before)
        return f"sound {number}"

    def reorder(self, device: Device) -> str:
        """Save the entries of the index in another order."""
        path = device.root / "index.toml"
        if not path.exists():
            return "refused: nothing there"
        before = path.stat().st_mtime_ns
        head, *entries = path.read_text().split("\n[[memo]]\n")
        self.random.shuffle(entries)
        if not head.startswith("[[memo]]"):
            self.save(device, "\n[[memo]]\n".join([head, *(entry.rstrip("\n") + "\n" for entry in entries)]), before)
        return f"{len(entries)} entries"

    def empty_trash(self, device: Device) -> str:
        """Delete a file that is in the trash."""
        found = self.choose(device, trashed=True, here=True)
        if not found or not found[1].uid or not (path := device.root / ".memosync" / "trash" / found[1].file).exists():
            return "refused: nothing there, or nobody else can know which one that was"
        number, _memo = found
        path.unlink()
        self.lose_bytes(device, number)
        return f"sound {number}"

    def drop_entry(self, device: Device) -> str:
        """Delete an entry from the index, while its file is here."""
        if not (found := self.choose(device, here=True)):
            return "refused: nothing there"
        number, memo = found
        path = device.root / "index.toml"
        index, before = path.read_text(), path.stat().st_mtime_ns
        self.forget_what_only_it_has(device, only_index=True, only=number)
        self.is_known_by_its_file(device, number)
        self.save(device, index.replace(self.entry(index, memo.id), ""), before)
        self.reboot(device)
        return f"sound {number}"

    def break_index(self, device: Device) -> str:
        """Lose the end of the index, or all of it, as a disk does, and have it made anew."""
        path = device.root / "index.toml"
        if not path.exists():
            return "refused: nothing there"
        data = path.read_bytes()
        left = self.random.randint(0, len(data))
        self.forget_what_only_it_has(device, only_index=True)
        for number in list(self.made):
            self.is_known_by_its_file(device, number)
        path.write_bytes(data[:left])
        now = datetime.fromtimestamp(int(self.now + device.skew), UTC)
        rebuild(device.library, now=now, stop=Stop(), console=SILENT)
        self.comes_back(device)
        return f"after {left} of {len(data)} bytes"

    def delete_file(self, device: Device) -> str:
        if not (found := self.choose(device, here=True)):
            return "refused: nothing there"
        number, memo = found
        if not memo.uid:
            return "refused: nobody else can know which one that was"
        (device.root / memo.file).unlink()
        self.lose_bytes(device, number)
        self.reboot(device)
        return f"sound {number}"

    def rename_file(self, device: Device) -> str:
        if not (found := self.choose(device, here=True)):
            return "refused: nothing there"
        number, memo = found
        if not memo.uid:
            return "refused: check --repair would bring it back"
        day = self.random.randint(1, 28)
        path, new = device.root / memo.file, device.root / f"2025-02-{day:02}{RENAMED}{memo.id}.webm"
        if os.path.lexists(new):
            return "refused: there is one"
        path.rename(new)
        self.reboot(device)
        return f"sound {number}"

    def alter_file(self, device: Device) -> str:
        """Have a disk alter a file, or lose its end."""
        if not (found := self.choose(device, here=True)):
            return "refused: nothing there"
        number, memo = found
        if not memo.uid:
            return "refused: nobody else can know which one that was"
        path = device.root / memo.file
        data = path.read_bytes()
        at = self.random.randint(0, len(data) - 1)
        if not device.grouped:  # so short a sound may lose its end, and be what a person made of it
            at = 0
        if self.random.random() < 0.5:
            path.write_bytes(data[:at])
        else:
            path.write_bytes(data[:at] + bytes(self.random.randint(1, 500)) + data[at + 500 :])
        self.lose_bytes(device, number)
        self.is_known_by_its_file(device, number)
        return f"sound {number} from {at} of {len(data)} bytes on, heard as {device.ear(memo.file)}"

    def retag_file(self, device: Device) -> str:
        """Have another program write words into a file."""
        if not (found := self.choose(device, here=True)):
            return "refused: nothing there"
        number, memo = found
        path, new = device.root / memo.file, self.place / "retagged.webm"
        title = self.word("title")
        words = Words(
            title, memo.description, tuple(sorted(memo.tags)), datetime.fromisoformat(memo.recorded), MemoId(memo.id)
        )
        webm.finish(path, new, words)
        self.values.setdefault((number, "title"), {})[title] = Value(None, -1, acknowledged=False)
        self.by_file.add(number)
        self.is_known_by_its_file(device, number)
        if self.random.random() < 0.5:
            shutil.move(new, path)
        else:
            path.write_bytes(new.read_bytes())
        return f"sound {number} as {title!r}"

    def copy_file(self, device: Device) -> str:
        """Copy the file of a memo that is not here, or thrown away, from another device, a backup or the trash."""
        here = {
            number
            for number, memo in self.shown(device).items()
            if not memo.trashed and device.ear(memo.file) is not None
        }
        places = [each.root for each in self.devices]
        places += [place for each in self.devices for what, place in each.backups if what == "all"]
        paths = [
            path for place in places for pattern in ("*.webm", ".memosync/trash/*.webm") for path in place.glob(pattern)
        ]
        found = [(number, path) for path in sorted(paths) if (number := heard(path.read_bytes())) not in {*here, None}]
        if not found or not device.root.exists():
            return "refused: nothing there"
        number, path = self.random.choice(found)
        memo = self.shown(device).get(number or 0)
        is_gone = memo and memo.trashed and not (device.root / ".memosync" / "trash" / memo.file).exists()
        if (
            os.path.lexists(copy := device.root / path.name)
            or number is None
            or is_gone
            or (memo and memo.file != path.name)
        ):
            return "refused: there is one that it is not told from"  # nor from what a crash left, or came in pieces
        for uid, cells in known.read(device.library).graves.items():
            if self.uids.get(uid) == number and ("id" not in cells or cells["id"].value not in path.name):
                return "refused: it was purged, and this would be another one"
        self.wanted(device, number)
        self.by_file.add(number)
        shutil.copy2(path, copy)
        if self.random.random() < 0.5:
            os.utime(copy, (now := self.now + device.skew, now))
        self.reboot(device)
        return f"sound {number} from {path.relative_to(self.place)}"

    def back_up(self, device: Device) -> str:
        what = self.random.choice(["index", "sync", "all"])
        if not device.root.exists():
            return "refused: nothing there"
        place = self.place / f"backup{next(self.words)}"
        if what == "all":
            shutil.copytree(device.root, place, symlinks=True)
        else:
            source = device.root / ("index.toml" if what == "index" else ".memosync/sync.toml")
            if not source.exists():
                return "refused: nothing there"
            shutil.copy2(source, place)
        device.backups.append((what, place))
        return what

    def put_back(self, device: Device) -> str:
        """Put something back from a backup, or, as who mirrors directories does, the index of another device."""
        others = [other.root / "index.toml" for other in self.devices if other is not device]
        indexes = [("index", path) for path in others if path.exists() and self.disk.random() < 0.1]
        if not (found := device.backups + indexes) or not device.root.exists():
            return "refused: nothing there"
        what, place = self.random.choice(found)
        self.forget_what_only_it_has(device, only_index=what != "all")
        if what == "all":
            for number in list(self.made):
                if not self.has_bytes(number, besides=device) and not self.has_bytes_in(place, number):
                    self.destroyed.add(number)
            shutil.rmtree(device.root)
            shutil.copytree(place, device.root, symlinks=True)
        elif what == "index":
            shutil.copy2(place, device.root / "index.toml")
        else:
            shutil.copy2(place, device.root / ".memosync/sync.toml")
            here = self.shown(device)  # what was purged is known by it alone
            device.seen = {key: text for key, text in device.seen.items() if key[0] in here}
        device.trash_seen.clear()
        if what != "sync":
            device.seen.clear()
            device.fetched.update(self.made)  # what it does not name is known by its file alone
            self.forget_when_it_was_typed(device)
        self.count[f"put back: {what}"] += 1
        self.comes_back(device)
        if what == "index":
            self.count["index-only restore"] += 1
        return what

    def lose_inner(self, device: Device) -> str:
        """Delete `.memosync`, with the key, the trash, and what is known of the others; or copy it without that."""
        if not (inner := device.root / ".memosync").exists():
            return "refused: nothing there"
        self.forget_what_only_it_has(device, only_index=True)
        shutil.rmtree(inner)
        for number in list(self.made):
            self.lose_bytes(device, number)
        device.trash_seen.clear()
        here = self.shown(device)  # what was purged is not known any more
        device.seen = {key: text for key, text in device.seen.items() if key[0] in here}
        if is_to_leave := self.random.random() < 0.5:  # as it is told to
            self.forget_what_only_it_has(device)
            group.leave(device.library)
            device.grouped = 0
            self.reboot(device)
        else:
            self.comes_back(device)
        return "and leave" if is_to_leave else ""

    def leave_copy(self, device: Device) -> None:
        """Have a file synchroniser leave another index beside a device's own: of now, or of a backup."""
        indexes = [each.root / "index.toml" for each in self.devices if each is not device]
        indexes += [
            place / "index.toml" if place.is_dir() else place for what, place in device.backups if what != "sync"
        ]
        found = [path for path in indexes if path.exists()]
        if found and device.root.exists():
            path = self.disk.choice(found)
            shutil.copy2(path, device.root / f"index.sync-conflict-{self.disk.randint(1, 99)}.toml")
            self.note(f"device {device.number}: a copy of {path.relative_to(self.place)} is left there")
            self.count["copy of an index"] += 1

    def comes_back(self, device: Device) -> None:
        """Begin anew with what was put back there."""
        device.grouped = self.group_of(device)
        library, secret = Library(device.root), SECRETS[device.grouped]
        is_there = keys.has_secret(library) and keys.secret(library) == secret
        if secret and not is_there:  # as it is told to: it was left
            keys.replace_secret(library, secret, datetime.fromtimestamp(self.now, UTC))
        self.reboot(device)

    def group_of(self, device: Device) -> int:
        """Give the number of the group that a device's index names."""
        path = device.root / "index.toml"
        name = tomli.loads(path.read_text()).get("group", "") if path.exists() else ""
        return ["", *map(group_of, SECRETS[1:])].index(name)

    def entry(self, index: str, memo_id: str) -> str:
        """Give the text of a memo's entry, nothing where there is none."""
        found = re.search(rf'^\[\[memo\]\]\nid = "{memo_id}"\n(?:(?!\[\[memo\]\]).*\n)*', index, re.MULTILINE)
        return found[0] if found else ""

    def save(self, device: Device, index: str, before: int) -> None:
        """Save an index as an editor does, in place or by a new file; it is later than it was `before`."""
        path = device.root / "index.toml"
        if self.random.random() < 0.5:
            path.write_text(index)
        else:
            path.with_suffix(".swp").write_text(index)
            os.replace(path.with_suffix(".swp"), path)
        clock = int((self.now + device.skew) * 10**9)
        os.utime(path, ns=(time := max(clock, before + 1000), time))

    def is_known_by_its_file(self, device: Device, number: int) -> None:
        """What the index said of a sound here may be gone."""
        device.fetched.add(number)
        device.trash_seen.pop(number, None)
        device.seen = {key: text for key, text in device.seen.items() if key[0] != number}
