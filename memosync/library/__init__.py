"""The library: all that may be done to a memo on disk.

* Data before index: a file is in its place before the index names it, so a crash leaves an orphan that the next
  command adopts, never a hole. To the trash it goes the other way: the entry says `trashed`, then the file moves.
* Replace, never edit: the index is replaced whole under `lock`; readers take no lock.
* Whoever reads a memo's file, decides and then writes it holds that memo's lock around all three; `lock` is the
  innermost.
* Nothing from the network, and nothing that a stranger planted (in a shared or synchronised folder), becomes a path
  or is written through: names in here are ids, infohashes, and what `memo.file_name` made; a new file is made beside,
  with a random name; only regular files are opened, in `.memosync` through no symbolic link; what is written in place
  (locks, the log, what arrives) has no other name, or is made anew. Torrents are believed by their hash.
* The library itself, its index and a memo in it may be links that a person made. They are read as what they lead to;
  an index is replaced there if one is there. But a link chooses nothing to give away: it is not adopted, and what it
  leads to is not frozen, only served while it is byte for byte what its link gives.
* A recording in progress is a `.part` whose memo is locked, from before its first byte until the index names it.
* A file is frozen from the moment a link to its bytes was given: `Memo.is_frozen`, asked everywhere.
"""

from __future__ import annotations
