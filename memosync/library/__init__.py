"""The library: all that may be done to a memo on disk.

* Data before index: a file is in its place before the index names it, so a crash leaves an orphan that the next
  command adopts, never a hole. To the trash it goes the other way: the entry says `trashed`, then the file moves.
* Replace, never edit: the index is replaced whole under `lock`; readers take no lock.
* Whoever reads a memo's file, decides and then writes it holds that memo's lock around all three; `lock` is the
  innermost.
* Nothing from the network becomes a path: names in here are ids, infohashes, and what `memo.file_name` made.
* A recording in progress is a `.part` whose memo is locked, from before its first byte until the index names it.
* A file is frozen from the moment a link to its bytes was given: `Memo.is_frozen`, asked everywhere.
"""

from __future__ import annotations
